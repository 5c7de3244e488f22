"""The methods of runs: train, construct, interpolate or measure complexity.

`rethink/methods/<name>.py` with a METHOD is the method that `config.method`
names; `runner` runs it, and the other modules are shared parts.
"""
