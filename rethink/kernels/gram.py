"""The Gram matrix K of a kernel over n points, evaluated in tiles.

The solver needs two operations: K written out as tiles in a chosen precision,
and K multiplied by vectors in float64 without storing it. It needs the second
because a matrix stored in float32 is itself wrong by 1e-5 per entry.
"""

import functools
import math
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from rethink import errors, specs
from rethink.kernels import functions, pixels, tiles

_MEDIAN_POINTS = 2000  # their distances take 32 MB, and are enough for a median


class Gram(Protocol):
  """The interface of a matrix K that the solver relies on.

  Attributes:
    layout: how its rows are cut into tiles.
    points: [n, ...]; equal points have equal rows in K.
  """

  layout: tiles.Layout
  points: np.ndarray

  def bytes(self, n: int) -> int:
    """Returns the memory that n points take, without the result of `fill`."""
    ...

  def fill(self, dtype: str, shift: float) -> tiles.Tiles:
    """Returns the lower triangle of K + shift I in the given precision."""
    ...

  def product(self, x: np.ndarray) -> np.ndarray:
    """Returns K x for float64[n, k] x, with K evaluated in float64."""
    ...

  def predict(self, points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns k(points, training points) x in float64: float64[m, k]."""
    ...

  def columns(self, index: np.ndarray) -> np.ndarray:
    """Returns the columns K[:, index] in float64: float64[n, m]."""
    ...


class PointGram:
  """K_ij = k(x_i, x_j) of float32 points on the device; see `Gram`.

  Raw pixels are stored as integers (see `pixels`), which makes distances exact
  in a third of the time.

  Attributes:
    kernel: the kernel, with its bandwidth filled in.
  """

  def __init__(
    self,
    kernel: specs.Call,
    points: np.ndarray,
    tile: int = 0,
    cache: bool = False,
  ):
    """Moves the points to the device.

    Args:
      kernel: call of a function of `functions`; see `with_bandwidth` for a
        bandwidth of 0.
      points: float32[n, d].
      tile: rows of a tile, see `tiles.layout`.
      cache: keep the float64 tiles, so that later products need not evaluate
        them again. It takes twice the memory of a float32 factor and changes
        no number.
    """
    self.layout = tiles.layout(len(points), tile)
    self.points = np.ascontiguousarray(points, np.float32)
    self._cache: dict[tuple[int, int], jax.Array] | None = {} if cache else None
    self.kernel = with_bandwidth(kernel, self.points)
    self._static, self._numbers = self.kernel.static, self.kernel.numbers
    # Only a stationary kernel allows a shift of all points.
    self._middle = pixels.MIDDLE if self.kernel().stationary else 0
    self._exact_sum = (
      pixels.exact_sum(self._middle) if pixels.are_pixels(self.points) else 0
    )
    self._rows = self._cut(self.layout, self.points)
    # Subtracting the mean leaves distances as they are, with less cancellation.
    self._center = jax.device_put(self.points.mean(0, dtype=np.float64))

  def _cut(self, layout, points):
    """Copies points to the device, as pixel levels if the training set is."""
    parts = layout.split(points)
    if not self._exact_sum:
      return parts
    # Test points may be no pixels although the training points are.
    integers = pixels.are_pixels(points)
    with jax.enable_x64(True):
      return [pixels.levels(x, self._middle, integers=integers) for x in parts]

  def bytes(self, n: int) -> int:
    size = 2 * 4 * n * self.points.shape[1]
    if self._cache is not None:
      size += tiles.layout(n, self.layout.size).lower_bytes(8)
    return size

  def fill(self, dtype: str, shift: float) -> tiles.Tiles:
    with jax.enable_x64(True):
      return [
        [self._filled(i, j, dtype, shift) for j in range(i + 1)]
        for i in range(self.layout.count)
      ]

  def _filled(self, i, j, dtype, shift):
    if self._cache is None:
      return self._tile(i, j, dtype, shift)
    return tiles.shifted(
      self._exact(i, j), shift if i == j else 0.0, dtype=dtype
    )

  def _exact(self, i, j):
    if self._cache is None:
      return self._tile(i, j, "float64", 0.0)
    if (i, j) not in self._cache:
      self._cache[i, j] = self._tile(i, j, "float64", 0.0)
    return self._cache[i, j]

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
      one_tile = tiles.Layout(len(index), 1, len(index))
      (chosen,) = self._cut(one_tile, self.points[index])
      return self.layout.join(
        [self._cross(rows, chosen) for rows in self._rows]
      )

  def _cross(self, left, right):
    return _cross(
      self._static, self._numbers, left, right, exact_sum=self._exact_sum
    )


def with_bandwidth(kernel: specs.Call, points: np.ndarray) -> specs.Call:
  """Replaces a bandwidth of 0 by the median distance between two points.

  Args:
    kernel: call of a function of `functions`.
    points: float32[n, d]; at most 2,000 of them, evenly spaced in the array,
      are compared with each other.

  Returns:
    The kernel with its bandwidth filled in; unchanged if it has none.

  Raises:
    ConfigError: if the median distance is 0.
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
      f"kernel {kernel}: the median distance between {len(points)} points is 0"
      " and cannot be the bandwidth; give a bandwidth above 0"
    )
  return kernel._replace(kwargs={**kernel.kwargs, "bandwidth": bandwidth})


def parse(text: str) -> specs.Call:
  """Reads a kernel such as "gaussian(bandwidth=5.0)".

  Raises:
    ConfigError: naming what is wrong and what exists.
  """
  return specs.of_module(text, functions, "kernel")


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
  """Returns the tile of K + shift I that begins at (row, column).

  Rows and columns from n on are padding: those of the identity matrix.
  """
  kernel: functions.Kernel = static(numbers)
  if not exact_sum:
    left, right = left.astype(dtype), right.astype(dtype)
    if kernel.stationary and dtype == "float32":
      left -= center.astype(dtype)[None]
      right -= center.astype(dtype)[None]
  inner, squares, other = pixels.products(left, right, exact_sum)
  rows = row + jnp.arange(len(left))[:, None]
  columns = column + jnp.arange(len(right))[None]
  same = rows == columns
  # The distance of a point to itself must be exactly 0: the Laplacian kernel
  # has a kink there and would turn a rounding error e into sqrt(e).
  inner = jnp.where(same, squares, inner)
  values = kernel.values(inner, squares, other)
  values = jnp.where((rows < n) & (columns < n), values, 0)
  diagonal = jnp.where(same, jnp.where(rows < n, shift, 1), 0)
  return (values + diagonal.astype(values.dtype)).astype(dtype)


@functools.partial(jax.jit, static_argnames=("static", "exact_sum"))
def _cross(static, numbers, left, right, *, exact_sum):
  """Returns k(left, right) in float64."""
  if not exact_sum:
    left, right = left.astype("float64"), right.astype("float64")
  return static(numbers).values(*pixels.products(left, right, exact_sum))
