"""What makes XLA's CPU backend fast."""
