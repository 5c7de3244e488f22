"""Inner products of images: exact, at the speed of float32.

Pixels are multiples of 1/255, and their products integers: as long as a sum of
them stays within 2^24, float32 rounds nothing, whatever the order. That is 258
products, or 1,024 around the middle of the range, where only distances matter.
Such sums are added up in float64.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rethink.kernels import tiles

MIDDLE = 128
_LEVELS = 255
_CHECKED = 4096  # points at a time: bounds the memory of copies


def are_pixels(points: np.ndarray) -> bool:
  """Whether all of float32[n, d] are k / 255 with k = 0..255, as divided."""

  def check(part: np.ndarray) -> bool:
    levels = np.rint(part * _LEVELS)
    inside = levels.min() >= 0 and levels.max() <= _LEVELS
    return bool(inside and np.array_equal(part, levels / np.float32(_LEVELS)))

  starts = range(0, len(points), _CHECKED)
  return all(check(points[start : start + _CHECKED]) for start in starts)


def exact_sum(middle: int) -> int:
  """How many products of pixels around a middle sum up exactly in float32."""
  return 2**24 // max(middle, _LEVELS - middle) ** 2


@functools.partial(jax.jit, static_argnames="whole")
def levels(points: jax.Array, middle: int, *, whole: bool) -> jax.Array:
  """255 x - middle, in float64; whole numbers in float32 if x are pixels."""
  scaled = _LEVELS * points.astype("float64")
  if whole:
    scaled = jnp.rint(scaled).astype("float32")
  return scaled - middle


def products(
  left: jax.Array, right: jax.Array, exact_sum: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """(inner products [m, n], squared norms [m, 1], squared norms [1, n]).

  Args:
    left: [m, d]; of `levels` if exact_sum is not 0.
    right: [n, d], likewise.
    exact_sum: features that are summed up in the rows' precision before float64
      goes on, and units are those of x again; 0 for rows of another kind.
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
