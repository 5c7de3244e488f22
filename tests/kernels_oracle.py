"""Kernels and their solutions by NumPy in float64, from the definitions."""

import numpy as np

from rethink.kernels import gram, solver

KERNELS = (
  "gaussian(bandwidth=2.0)",
  "laplacian(bandwidth=2.0)",
  "polynomial(degree=3, scale=0.5, offset=1.0)",
  "linear()",
  "arc_cosine(degree=0)",
  "arc_cosine(degree=1)",
  "arc_cosine(degree=2)",
)


def data(n: int, d: int, classes: int = 3, seed: int = 0):
  """(points float32[n, d], one-hot random labels float64[n, classes])."""
  rng = np.random.default_rng(seed)
  points = rng.normal(size=(n, d)).astype(np.float32)
  return points, np.eye(classes)[rng.integers(0, classes, n)]


def matrix(text: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
  """k(left, right), a pair at a time."""
  call = gram.parse(text)
  return np.array(
    [
      [_value(call.name, call.kwargs, x, z) for z in right.astype(np.float64)]
      for x in left.astype(np.float64)
    ]
  )


def _value(name, kwargs, x, z):
  distance = np.sqrt(np.sum((x - z) ** 2))
  if name == "gaussian":
    return np.exp(-(distance**2) / (2 * kwargs["bandwidth"] ** 2))
  if name == "laplacian":
    return np.exp(-distance / kwargs["bandwidth"])
  if name == "polynomial":
    return (kwargs["scale"] * x @ z + kwargs["offset"]) ** kwargs["degree"]
  if name == "linear":
    return x @ z
  norms = np.sqrt(x @ x * (z @ z))
  angle = 0.0 if np.array_equal(x, z) else np.arccos(x @ z / norms)
  sine, cosine, rest = np.sin(angle), np.cos(angle), np.pi - angle
  if kwargs["degree"] == 0:
    return rest / np.pi
  if kwargs["degree"] == 1:
    return norms * (sine + rest * cosine) / np.pi
  return norms**2 * (3 * sine * cosine + rest * (1 + 2 * cosine**2)) / np.pi


def solve(text: str, points, targets, tile: int = 0, **kwargs):
  """`solver.solve` for the kernel named by a text."""
  kernel = gram.with_bandwidth(gram.parse(text), points)
  return solver.solve(gram.PointGram(kernel, points, tile), targets, **kwargs)
