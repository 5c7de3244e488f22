"""Points to numbers: <a, z>, free of rounding that would make points collide.

The entries of a direction are integers of so few bits (times a power of two)
that products and sums with integer data, images say, are exact in float64: in
any order, block and library. Other data are cut into slices of bits, all but
the last of which are exact likewise; near 2^-90 of the largest term is lost.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from rethink import bits, errors

_SLICE = 20  # bits of a slice of real data, for directions made for them
_SLICED = 40  # bits below the largest value that are exact
_SUM = 51  # bits of a sum; two fewer than float64 has, for differences of sums
_MIXED = 3  # bits for sums of 8 directions
_BLOCK = 2**22  # values that are read at a time: bounds memory
_PART = 2**15  # of these are computed with at a time: they stay in the cache
_LARGEST = 1e100  # products and slopes stay far from overflow


class Points(Protocol):
  """n points: an array, a memory map, or what makes blocks when asked for.

  Slices of consecutive points are all that is read, and a point must be the
  same whenever it is read. Axes after the first are flattened.
  """

  @property
  def shape(self) -> tuple[int, ...]: ...

  def __getitem__(self, index: slice, /) -> Any: ...


class Projection(NamedTuple):
  """Real numbers of up to 106 bits: the sum of both fields.

  Attributes:
    high: float64[...].
    low: float64[...]; at most half a unit in the last place of `high`.
  """

  high: np.ndarray
  low: np.ndarray

  def mix(self, coefficients: np.ndarray) -> "Projection":
    """Projection[n] on a sum of directions, from those on each of them."""
    total = Projection(np.zeros(()), np.zeros(()))
    for c, high, low in zip(coefficients, self.high, self.low, strict=True):
      total = _add(total, c * high, c * low)
    return total

  def take(self, index) -> "Projection":
    """The numbers at these positions."""
    return Projection(self.high[index], self.low[index])

  def gaps(self) -> np.ndarray:
    """float64[n - 1]: from each number to the next."""
    return np.diff(self.high) + np.diff(self.low)


def dimensions(points: Points) -> int:
  """Numbers per point, d of the theorem."""
  return math.prod(points.shape[1:])


def directions(points: Points, count: int, seed: int) -> np.ndarray:
  """float64[count, d]: uniform in a cube, of length near 1.

  One only, (1), if d = 1. The entries are integers times one power of two, and
  sums of up to 8 directions still give exact projections.

  Args:
    points: their d and type say how many bits an entry may have.
    count: how many directions.
    seed: draws them; the same with any version of any library.
  """
  d = dimensions(points)
  if d == 0:
    raise errors.DataError("points have no dimensions")
  if d == 1:
    return np.ones((1, 1))
  entry = _SUM - _MIXED - _data_bits(points[0:1]) - math.ceil(math.log2(d))
  if entry < 4:
    raise errors.DataError(
      f"points have {d} dimensions, too many for exact projections"
    )
  words = bits.bits(seed, "expressivity/direction", np.arange(count), d)
  drawn = words.view(np.int64) >> (63 - entry)
  drawn[:, 0] |= 1  # never the zero vector
  return np.ldexp(
    drawn.astype(np.float64), -entry - round(math.log2(d / 3) / 2)
  )


def project(
  points: Points,
  directions: np.ndarray,
  name: Callable[[int], str] = str,
) -> Projection:
  """Projects all points, block by block.

  Args:
    points: [n, ...] of any real type.
    directions: float64[m, d], best from `directions`, for points of any type.
    name: what to call the point at a position, in messages.

  Returns:
    Projection[m, n].

  Raises:
    DataError: naming a point that is not finite or beyond 1e100.
  """
  shape = (len(directions), points.shape[0])
  out = Projection(np.empty(shape), np.zeros(shape))
  size = (
    _SUM - _entry_bits(directions) - math.ceil(math.log2(dimensions(points)))
  )
  for index, block in blocks(points):
    rows = max(1, _PART // max(block.shape[1], 1))
    for start in range(0, len(block), rows):
      part, first = block[start : start + rows], index.start + start
      _check(part, first, name)
      at = slice(first, first + len(part))
      out.high[:, at], out.low[:, at] = _project(part, directions, size)
  return out


def blocks(points: Points) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields (where, array[m, d]) over all points."""
  n, d = points.shape[0], dimensions(points)
  size = max(1, _BLOCK // max(d, 1))
  for start in range(0, n, size):
    index = slice(start, min(start + size, n))
    yield index, np.asarray(points[index]).reshape(-1, d)


def _data_bits(block: Any) -> int:
  dtype = np.asarray(block).dtype
  return 8 * dtype.itemsize if _is_small_integer(dtype) else _SLICE


def _is_small_integer(dtype: np.dtype) -> bool:
  return dtype.kind in "biu" and dtype.itemsize <= 2


def _check(block: np.ndarray, start: int, name: Callable[[int], str]) -> None:
  if _is_small_integer(block.dtype):
    return
  if block.dtype.kind not in "iuf":
    raise errors.DataError(f"points must be real numbers, not {block.dtype}")
  limit, what = _LARGEST, "1e100"
  if block.dtype.kind in "iu":
    limit, what = 2**53, "2^53, where integers fit into float64"
  good = (np.abs(block.astype(np.float64)) <= limit).all(axis=1)  # NaN is not
  if not good.all():
    raise errors.DataError(
      f"point {name(start + int(np.argmin(good)))} has a value that is not"
      f" finite or beyond {what}"
    )


def _project(
  block: np.ndarray, directions: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
  """(high, low), each float64[m, n], of a block that `_check` has passed.

  `size` is how many bits of the data make exact sums with these directions.
  """
  rest = block.astype(np.float64)
  fits = _is_small_integer(block.dtype) and _data_bits(block) <= size
  if fits or np.array_equal(directions, [[1.0]]):  # nothing to add
    return directions @ rest.T, np.zeros(())
  # Powers of two beyond 2^900 are left to the last, rounded sum.
  unit = min(-int(np.frexp(np.abs(rest).max(initial=0))[1]), 900)
  size = max(size, 8)  # less, for a direction from elsewhere: not exact
  total = Projection(np.zeros(()), np.zeros(()))
  for _ in range(0, _SLICED, size):
    unit += size
    part = np.trunc(rest * 2.0**unit) * 2.0**-unit  # faster than ldexp
    total = _add(total, directions @ part.T, 0.0)
    rest -= part
    if not rest.any():
      return total
  return _add(total, directions @ rest.T, 0.0)


def _entry_bits(directions: np.ndarray) -> int:
  """Bits from the highest to the lowest that is set in any entry."""
  mantissas, exponents = np.frexp(directions[directions != 0])
  whole = np.ldexp(mantissas, 53).astype(np.int64)
  _, lowest = np.frexp((whole & -whole).astype(np.float64))
  return int(exponents.max() - (exponents + lowest - 54).min())


def _add(total: Projection, high: np.ndarray, low: Any) -> Projection:
  high, tail = _two_sum(total.high, high)
  return Projection(*_two_sum(high, tail + total.low + low))


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The rounded sum and what rounding has taken (Knuth)."""
  total = a + b
  tail = total - a
  return total, (a - (total - tail)) + (b - tail)
