"""From examples to batches that a model sees."""
