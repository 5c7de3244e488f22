"""What a run may do: train, construct, interpolate or measure complexity."""
