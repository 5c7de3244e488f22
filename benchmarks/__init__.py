"""Benchmarks of speed against peers and our own goals; see README.md here."""
