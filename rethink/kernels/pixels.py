"""Exact inner products of images, at the speed of float32.

Pixels are multiples of 1/255, so in units of 1/255 their products are integers.
As long as a sum of integers stays within 2^24, float32 rounds nothing, in any
order. That allows 258 products per sum, or 1,024 if the middle of the range is
subtracted first, which is allowed where only distances matter. The short sums
are then added up in float64.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rethink.kernels import tiles

MIDDLE = 128
_LEVELS = 255
_CHECKED = 4096  # points checked at a time: bounds the memory of copies


def are_pixels(points: np.ndarray) -> bool:
  """Returns True if all of float32[n, d] are k / 255 in float32, k = 0..255."""

  def check(part: np.ndarray) -> bool:
    levels = np.rint(part * _LEVELS)
    inside = levels.min() >= 0 and levels.max() <= _LEVELS
    return bool(inside and np.array_equal(part, levels / np.float32(_LEVELS)))

  starts = range(0, len(points), _CHECKED)
  return all(check(points[start : start + _CHECKED]) for start in starts)


def exact_sum(middle: int) -> int:
  """Returns how many products of (pixel - middle) float32 sums up exactly."""
  return 2**24 // max(middle, _LEVELS - middle) ** 2


@functools.partial(jax.jit, static_argnames="integers")
def levels(points: jax.Array, middle: int, *, integers: bool) -> jax.Array:
  """Returns 255 x - middle in float64, or as integers in float32."""
  scaled = _LEVELS * points.astype("float64")
  if integers:
    scaled = jnp.rint(scaled).astype("float32")
  return scaled - middle


def products(
  left: jax.Array, right: jax.Array, exact_sum: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Computes inner products and squared norms of two sets of rows.

  Args:
    left: [m, d]; made by `levels` if exact_sum is not 0.
    right: [n, d]; made by `levels` if exact_sum is not 0.
    exact_sum: features that are summed up in the precision of the rows before
      the sum goes on in float64; 0 if the rows are no pixel levels.

  Returns:
    (inner products [m, n], squared norms [m, 1], squared norms [1, n]); of
    pixel levels, in the units of pixels in [0, 1].
  """
  if not exact_sum:
    return _inner(left, right), _squares(left), _squares(right).T
  sums: list[jax.Array] = []
  for start in range(0, left.shape[1], exact_sum):
    a, b = (x[:, start : start + exact_sum] for x in (left, right))
    parts = (_inner(a, b), _squares(a), _squares(b))
    exact = [part.astype("float64") for part in parts]
    sums = [x + y for x, y in zip(sums, exact, strict=True)] if sums else exact
  inner, of_left, of_right = (x / _LEVELS**2 for x in sums)
  return inner, of_left, of_right.T


def _inner(a, b):
  return jnp.matmul(a, b.T, precision=tiles.PRECISION)


def _squares(a):
  return jnp.sum(a * a, 1, keepdims=True)
