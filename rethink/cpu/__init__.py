"""Workarounds for what is slow in XLA's CPU backend."""
