"""Run directories on disk and in buckets: records, saved states, locks."""
