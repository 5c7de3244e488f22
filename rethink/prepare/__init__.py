"""Data sets onto disk, in the layout of TFDS; the only code that may download."""
