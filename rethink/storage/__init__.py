"""The run directory on disk and in buckets: records, states, locks."""
