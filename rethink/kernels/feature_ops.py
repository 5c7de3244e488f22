"""What the steps of `features` and `convolution` are made of."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rethink.kernels import tiles

_CHUNK = 128  # images at a time: bounds the memory of what is made of them


def zca(rows: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
  """(mean float64[d], symmetric float64[d, d]): (rows - mean) W is white.

  Args:
    rows: [n, d].
    epsilon: added to the eigenvalues of the covariance.
  """
  mean = rows.mean(0, dtype=np.float64)
  centred = rows - mean
  values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
  scale = 1 / np.sqrt(np.maximum(values, 0) + epsilon)
  return mean, (vectors * scale) @ vectors.T


def in_chunks(
  function: Callable[[np.ndarray], jax.Array],
  rows: np.ndarray,
  chunk: int = _CHUNK,
) -> np.ndarray:
  """Applies a jitted function to so many rows at a time, of one shape."""
  chunk, parts = min(chunk, len(rows)), []
  for start in range(0, len(rows), chunk):
    part = rows[start : start + chunk]
    padding = [(0, chunk - len(part))] + [(0, 0)] * (part.ndim - 1)
    parts.append(np.asarray(function(np.pad(part, padding)))[: len(part)])
  return np.concatenate(parts)


def convolve(images: jax.Array, bank: jax.Array, padding: str) -> jax.Array:
  """Cross-correlation of [n, h, w, c] with [side, side, c, filters]."""
  return jax.lax.conv_general_dilated(
    images,
    bank,
    (1, 1),
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    precision=tiles.PRECISION,
  )


def mean_pool(maps: jax.Array, window: int, stride: int) -> jax.Array:
  """Means over squares of [n, h, w, c], those that fit."""
  sums = jax.lax.reduce_window(
    maps,
    jnp.zeros((), maps.dtype),
    jax.lax.add,
    (1, window, window, 1),
    (1, stride, stride, 1),
    "VALID",
  )
  return sums / window**2
