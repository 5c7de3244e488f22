"""Array operations that `features` and `convolution` share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rethink.kernels import tiles

_CHUNK = 128  # images at a time: bounds the memory of their feature maps


def zca(rows: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean m and the ZCA whitening matrix W of some rows.

  (rows - m) W has uncorrelated columns, of variance 1 up to epsilon.

  Args:
    rows: [n, d].
    epsilon: added to the eigenvalues of the covariance.

  Returns:
    (m, W): float64[d] and symmetric float64[d, d].
  """
  mean = rows.mean(0, dtype=np.float64)
  centred = rows - mean
  values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
  # Rounding may leave eigenvalues slightly below 0.
  scale = 1 / np.sqrt(np.maximum(values, 0) + epsilon)
  return mean, (vectors * scale) @ vectors.T


def in_chunks(
  function: Callable[[np.ndarray], jax.Array],
  rows: np.ndarray,
  chunk: int = _CHUNK,
) -> np.ndarray:
  """Applies a jitted function to a few rows at a time and joins the results."""
  chunk, parts = min(chunk, len(rows)), []
  for start in range(0, len(rows), chunk):
    part = rows[start : start + chunk]
    # The last chunk is padded: another shape would be compiled once more.
    padding = [(0, chunk - len(part))] + [(0, 0)] * (part.ndim - 1)
    parts.append(np.asarray(function(np.pad(part, padding)))[: len(part)])
  return np.concatenate(parts)


def convolve(images: jax.Array, bank: jax.Array, padding: str) -> jax.Array:
  """Cross-correlates [n, h, w, c] with [side, side, c, filters], stride 1."""
  return jax.lax.conv_general_dilated(
    images,
    bank,
    (1, 1),
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    precision=tiles.PRECISION,
  )


def mean_pool(images: jax.Array, window: int, stride: int) -> jax.Array:
  """Averages [n, h, w, c] over the squares that lie fully inside."""
  sums = jax.lax.reduce_window(
    images,
    jnp.zeros((), images.dtype),
    jax.lax.add,
    (1, window, window, 1),
    (1, stride, stride, 1),
    "VALID",
  )
  return sums / window**2
