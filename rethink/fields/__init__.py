"""Fields of configs: their ranges and names, and how a variation is called."""
