"""Puts data sets on disk in TFDS's format; nothing else uses the network."""
