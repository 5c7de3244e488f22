"""The matrix K of a kernel over n points, evaluated in tiles.

A Gram matrix can be written out as tiles, in the precision asked for, and be
multiplied by a vector in float64 without being held: the solver does both, as a
matrix stored in float32 is itself off by 1e-5 an entry.
"""

import functools
import math
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from rethink import errors, specs
from rethink.kernels import functions, tiles

_MEDIAN_POINTS = 2000
_PIXEL = 255  # of so many levels are images
_MIDDLE = 128


class Gram(Protocol):
  """What the solver needs to know of a matrix K.

  Attributes:
    layout: how its rows are cut.
    points: [n, ...], equal rows of which are equal rows of K.
  """

  layout: tiles.Layout
  points: np.ndarray

  def bytes(self, n: int) -> int:
    """Memory that it takes with n points, besides what `fill` returns."""
    ...

  def fill(self, dtype: str, shift: float) -> tiles.Tiles:
    """K + shift I in a precision, the lower triangle."""
    ...

  def product(self, x: np.ndarray) -> np.ndarray:
    """K x with K evaluated in float64; float64[n, k] -> float64[n, k]."""
    ...

  def predict(self, points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """k(points, training points) x in float64 -> float64[m, k]."""
    ...

  def columns(self, index: np.ndarray) -> np.ndarray:
    """The columns K[:, index] in float64 -> float64[n, m]."""
    ...


class PointGram:
  """K_ij = k(x_i, x_j) of points that are held as float32; see `Gram`.

  Points that are raw pixels, multiples of 1/255 in [0, 1], are held as integers
  instead, around 128 if only distances matter. Sums of 1,024 (else 258) of
  their products stay within 2^24 and are exact in float32, whatever their
  order: distances in float64 then cost products in float32, a third of the
  time.

  Attributes:
    kernel: with its bandwidth.
  """

  def __init__(
    self,
    kernel: specs.Call,
    points: np.ndarray,
    tile: int = 0,
    hold: bool = False,
  ):
    """Moves the points to the device.

    Args:
      kernel: of `functions`; see `with_bandwidth` for a bandwidth of 0.
      points: float32[n, d].
      tile: rows of a tile, see `tiles.layout`.
      hold: keep the float64 tiles, which products then need not evaluate again:
        twice the memory of a float32 factor, and the same numbers.
    """
    self.layout = tiles.layout(len(points), tile)
    self.points = np.ascontiguousarray(points, np.float32)
    self._hold: dict[tuple[int, int], jax.Array] | None = {} if hold else None
    self.kernel = with_bandwidth(kernel, self.points)
    self._static, self._numbers = self.kernel.static, self.kernel.numbers
    self._middle = _MIDDLE if self.kernel().stationary else 0
    largest = max(self._middle, _PIXEL - self._middle)
    # So many products are exact; 0 for other points than pixels.
    self._exact_sum = 2**24 // largest**2 if _are_pixels(self.points) else 0
    self._rows = self._cut(self.layout, self.points)
    # Distances do not change, and lose fewer digits, around the mean.
    self._center = jax.device_put(self.points.mean(0, dtype=np.float64))

  def _cut(self, layout, points):
    """The points on the device, in units of pixels if those learned are."""
    if not self._exact_sum:
      return layout.split(points)
    levels = _PIXEL * points.astype(np.float64)
    if _are_pixels(points):
      levels = np.rint(levels).astype(np.float32)
    with jax.enable_x64(True):
      return layout.split(levels - np.float32(self._middle))

  def bytes(self, n: int) -> int:
    held = 2 * 4 * n * self.points.shape[1]
    if self._hold is not None:
      held += tiles.layout(n, self.layout.size).lower_bytes(8)
    return held

  def fill(self, dtype: str, shift: float) -> tiles.Tiles:
    with jax.enable_x64(True):
      return [
        [self._filled(i, j, dtype, shift) for j in range(i + 1)]
        for i in range(self.layout.count)
      ]

  def _filled(self, i, j, dtype, shift):
    if self._hold is None:
      return self._tile(i, j, dtype, shift)
    return tiles.shifted(
      self._exact(i, j), shift if i == j else 0.0, dtype=dtype
    )

  def _exact(self, i, j):
    if self._hold is None:
      return self._tile(i, j, "float64", 0.0)
    if (i, j) not in self._hold:
      self._hold[i, j] = self._tile(i, j, "float64", 0.0)
    return self._hold[i, j]

  def _tile(self, i, j, dtype, shift):
    size = self.layout.size
    return _tile(
      self._static,
      self._numbers,
      self._rows[i],
      self._rows[j],
      self._center,
      i * size,
      j * size,
      self.layout.n,
      shift,
      dtype=dtype,
      exact_sum=self._exact_sum,
    )

  def product(self, x: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
      return self.layout.join(tiles.multiply(self._exact, self.layout.split(x)))

  def predict(self, points: np.ndarray, x: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
      other = tiles.layout(len(points), self.layout.size)
      parts, total = self.layout.split(x), []
      for rows in self._cut(other, np.asarray(points, np.float32)):
        sums = jnp.zeros((other.size, x.shape[1]), "float64")
        for part, columns in zip(parts, self._rows, strict=True):
          sums = tiles.add_product(sums, self._cross(rows, columns), part)
        total.append(sums)
      return other.join(total)

  def columns(self, index: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
      whole = tiles.Layout(len(index), 1, len(index))
      (chosen,) = self._cut(whole, self.points[index])
      return self.layout.join(
        [self._cross(rows, chosen) for rows in self._rows]
      )

  def _cross(self, left, right):
    return _cross(
      self._static, self._numbers, left, right, exact_sum=self._exact_sum
    )


def with_bandwidth(kernel: specs.Call, points: np.ndarray) -> specs.Call:
  """The kernel, a bandwidth of 0 replaced by the median distance.

  Args:
    kernel: of `functions`.
    points: float32[n, d]; the pairs of at most 2,000 of them, evenly spaced in
      the array, are measured.

  Returns:
    The kernel with all its numbers; it is unchanged if it has no bandwidth.

  Raises:
    ConfigError: if that distance is 0.
  """
  if kernel.numbers.get("bandwidth", 1.0) > 0:
    return kernel
  some = points[:: math.ceil(len(points) / _MEDIAN_POINTS)].astype(np.float64)
  squares = np.sum(some**2, 1)
  distances = squares[:, None] + squares - 2 * some @ some.T
  above = distances[np.triu_indices(len(some), 1)]
  bandwidth = (
    float(np.sqrt(np.maximum(np.median(above), 0))) if len(above) else 0
  )
  if not bandwidth:
    raise errors.ConfigError(
      f"{kernel}: the median distance of {len(points)} points is 0; give a"
      " bandwidth"
    )
  return kernel._replace(kwargs={**kernel.kwargs, "bandwidth": bandwidth})


def parse(text: str) -> specs.Call:
  """Reads a kernel such as "gaussian(bandwidth=5.0)".

  Raises:
    ConfigError: naming what is wrong and what exists.
  """
  return specs.parse(text, specs.public(functions), "kernel")


def _are_pixels(points: np.ndarray) -> bool:
  levels = np.rint(points * _PIXEL)
  return bool(
    np.array_equal(points, levels / np.float32(_PIXEL))
    and levels.min() >= 0
    and levels.max() <= _PIXEL
  )


@functools.partial(jax.jit, static_argnames=("static", "dtype", "exact_sum"))
def _tile(
  static,
  numbers,
  left,
  right,
  center,
  row,
  column,
  n,
  shift,
  *,
  dtype,
  exact_sum,
):
  """K[row:, column:] + shift I, continued by the identity; [size, size]."""
  kernel: functions.Kernel = static(numbers)
  if not exact_sum:
    left, right = left.astype(dtype), right.astype(dtype)
    if kernel.stationary and dtype == "float32":
      left -= center.astype(dtype)[None]
      right -= center.astype(dtype)[None]
  inner, squares, other = _products(left, right, exact_sum)
  rows = row + jnp.arange(len(left))[:, None]
  columns = column + jnp.arange(len(right))[None]
  same = rows == columns
  # Exact on the diagonal: a Laplacian has its kink there.
  inner = jnp.where(same, squares, inner)
  values = kernel.values(inner, squares, other)
  values = jnp.where((rows < n) & (columns < n), values, 0)
  diagonal = jnp.where(same, jnp.where(rows < n, shift, 1), 0)
  return (values + diagonal.astype(values.dtype)).astype(dtype)


@functools.partial(jax.jit, static_argnames=("static", "exact_sum"))
def _cross(static, numbers, left, right, *, exact_sum):
  """k(left, right) in float64."""
  if not exact_sum:
    left, right = left.astype("float64"), right.astype("float64")
  return static(numbers).values(*_products(left, right, exact_sum))


def _products(left, right, exact_sum):
  """Inner products and squared norms of rows; of pixels exact, in float64."""

  def product(a, b):
    return jnp.matmul(a, b.T, precision=tiles.PRECISION)

  def squares(a):
    return jnp.sum(a * a, 1, keepdims=True)

  if not exact_sum:
    return product(left, right), squares(left), squares(right).T
  sums: list[jax.Array] = []
  for start in range(0, left.shape[1], exact_sum):
    a, b = (x[:, start : start + exact_sum] for x in (left, right))
    parts = (product(a, b), squares(a), squares(b))
    exact = [part.astype("float64") for part in parts]
    sums = [x + y for x, y in zip(sums, exact, strict=True)] if sums else exact
  inner, of_left, of_right = (x / _PIXEL**2 for x in sums)
  return inner, of_left, of_right.T
