"""Projections <a, z> of points, so exact that distinct points stay distinct.

The entries of a direction are integers with few bits, times a power of two.
Products with integer data such as images, and their sums, are therefore exact
in float64, whatever the order, block size or library. Other data are cut into
slices of a few bits; all slices but the last are exact in the same way, and the
last loses about 2^-90 of the largest term.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from rethink import bits, errors

_SLICE = 20  # bits per slice of real data that `directions` leaves room for
_SLICED = 40  # bits below the largest value that are cut into exact slices
_SUM = 51  # bits of a sum: two fewer than float64 has, for differences of sums
_MIXED = 3  # bits that a sum of 8 directions adds
_BLOCK = 2**22  # values read at a time: bounds memory
_PART = 2**15  # values of a block computed at a time, so that they stay cached
_LARGEST = 1e100  # keeps products and slopes far from overflow


class Points(Protocol):
  """The interface of n points: an array, a memory map, or a lazy reader.

  Only slices of consecutive points are read. A point must be the same each time
  it is read. Axes after the first are flattened.
  """

  @property
  def shape(self) -> tuple[int, ...]: ...

  def __getitem__(self, index: slice, /) -> Any: ...


class Projection(NamedTuple):
  """Real numbers of up to 106 bits, as the sum of two float64 numbers.

  Attributes:
    high: float64[...].
    low: float64[...]; at most half a unit in the last place of `high`.
  """

  high: np.ndarray
  low: np.ndarray

  def mix(self, coefficients: np.ndarray) -> "Projection":
    """Returns the Projection[n] on a linear combination of the directions."""
    total = Projection(np.zeros(()), np.zeros(()))
    for c, high, low in zip(coefficients, self.high, self.low, strict=True):
      total = _add(total, c * high, c * low)
    return total

  def take(self, index) -> "Projection":
    """Returns the numbers at these positions."""
    return Projection(self.high[index], self.low[index])

  def gaps(self) -> np.ndarray:
    """Returns float64[n - 1], the differences of consecutive numbers."""
    return np.diff(self.high) + np.diff(self.low)


def dimensions(points: Points) -> int:
  """Returns the dimension of the points, d of the theorem."""
  return math.prod(points.shape[1:])


def directions(points: Points, count: int, seed: int) -> np.ndarray:
  """Draws directions, float64[count, d], uniform in a cube, of length near 1.

  If d = 1 there is only one, (1). The entries are integers times one power of
  two, so small that sums of up to 8 directions still give exact projections.

  Args:
    points: their dimension and dtype limit the bits of an entry.
    count: number of directions.
    seed: determines the directions, with any version of any library.

  Raises:
    DataError: if the points have no or too many dimensions.
  """
  d = dimensions(points)
  if d == 0:
    raise errors.DataError(
      "points have no dimensions; give at least one number per point"
    )
  if d == 1:
    return np.ones((1, 1))
  entry = _SUM - _MIXED - _data_bits(points[0:1]) - math.ceil(math.log2(d))
  if entry < 4:
    raise errors.DataError(
      f"points have {d} dimensions, too many for exact projections; reduce them"
    )
  words = bits.bits(seed, "expressivity/direction", np.arange(count), d)
  drawn = words.view(np.int64) >> (63 - entry)
  drawn[:, 0] |= 1  # odd, so that the vector is never zero
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
    points: [n, ...] of any real dtype.
    directions: float64[m, d]; projections are exact if `directions` made them.
    name: returns the name of the point at a position, for messages.

  Returns:
    Projection[m, n].

  Raises:
    DataError: naming a point that is not finite or exceeds 1e100.
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
  """Yields all points as (slice of positions, array[m, d])."""
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
    limit, what = 2**53, "2^53, up to which float64 holds every integer"
  # A NaN compares as False.
  good = (np.abs(block.astype(np.float64)) <= limit).all(axis=1)
  if not good.all():
    raise errors.DataError(
      f"point {name(start + int(np.argmin(good)))} has a value that is not"
      f" finite or exceeds {what}; correct it, or scale the points down"
    )


def _project(
  block: np.ndarray, directions: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Projects a checked block; returns (high, low), each float64[m, n].

  With at most `size` bits of the data, sums with these directions are exact.
  """
  rest = block.astype(np.float64)
  fits = _is_small_integer(block.dtype) and _data_bits(block) <= size
  # One matrix product is exact: the data are short, or nothing is added up.
  if fits or np.array_equal(directions, [[1.0]]):
    return directions @ rest.T, np.zeros(())
  # At most 2^900, so that 2.0**unit below stays finite; smaller values are left
  # to the last, rounded sum.
  unit = min(-int(np.frexp(np.abs(rest).max(initial=0))[1]), 900)
  # A direction that `directions` did not make may leave fewer bits; its sums
  # are rounded.
  size = max(size, 8)
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
  """Returns the number of bits from the highest to the lowest in any entry."""
  mantissas, exponents = np.frexp(directions[directions != 0])
  integers = np.ldexp(mantissas, 53).astype(np.int64)
  _, lowest = np.frexp((integers & -integers).astype(np.float64))
  return int(exponents.max() - (exponents + lowest - 54).min())


def _add(total: Projection, high: np.ndarray, low: Any) -> Projection:
  high, tail = _two_sum(total.high, high)
  return Projection(*_two_sum(high, tail + total.low + low))


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the rounded sum and its rounding error (Knuth's two-sum)."""
  total = a + b
  tail = total - a
  return total, (a - (total - tail)) + (b - tail)
