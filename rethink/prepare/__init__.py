"""Data sets onto disk, as TFDS lays them out; alone may download."""
