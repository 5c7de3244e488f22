"""The triangular system of Theorem 1, solved exactly in O(n).

Floating-point numbers are integers times powers of two, and Python's integers
have no size limit. So slopes and values along the direction are summed without
any rounding, however many digits cancel. Only the weights are rounded, to
float64, and each weight compensates for the rounding of the previous one.
"""

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from rethink.expressivity import projections

# Bits of a projection that are kept below the unit of the thresholds.
_POINT_BITS = 60
# Binary places that are kept of a weight times the range of the projections.
_WEIGHT_BITS = 80


class Solution(NamedTuple):
  """The weights of one output.

  Attributes:
    weights: float64[n], one per point.
    closing: float64[m], one per position in `closed`, see `solve`.
    errors: float64[n]; c(x_i) - y_i of the network with these weights.
  """

  weights: np.ndarray
  closing: np.ndarray
  errors: np.ndarray


def solve(
  points: projections.Projection,
  thresholds: np.ndarray,
  unit: int,
  values: np.ndarray,
  closed: Collection[int] = (),
) -> Solution:
  """Solves A w = y for A_ij = max(x_i - b_j, 0) without forming A.

  Between two thresholds the network is linear, and its slope is the sum of all
  earlier weights. The recurrence only needs this slope and the value at the
  last point.

  Args:
    points: Projection[n], x, ascending, with b_i < x_i <= b_(i+1).
    thresholds: float64[n], b, ascending multiples of 2^unit.
    unit: exponent of the unit of the thresholds.
    values: float64[n], y.
    closed: positions i > 0 where an extra weight at b_i makes the slope 0, up
      to float64 rounding, before the weight of point i is chosen.
  """
  unit -= _POINT_BITS
  width = points.high[-1] - thresholds[0]
  fine = -_WEIGHT_BITS - math.frexp(width)[1]
  highs, lows, ys = (
    map(int, np.ldexp(array, -exponent).tolist())
    for array, exponent in (
      (points.high, unit),
      (points.low, unit),
      (values, unit + fine),
    )
  )
  bs = list(map(int, np.ldexp(thresholds, -unit).tolist()))
  slope = value = 0  # integers: all numbers below are exact
  before = bs[0]
  weights, closing, errors = [], [], []
  for i, (high, low, b, y) in enumerate(zip(highs, lows, bs, ys, strict=True)):
    x = high + low
    value += slope * (x - before)
    before, gap = x, x - b
    if i in closed:
      weight = float(-slope)
      closing.append(weight)
      slope += int(weight)
      value += int(weight) * gap
    weight = float((y - value) // gap)
    weights.append(weight)
    slope += int(weight)
    value += int(weight) * gap
    errors.append(float(value - y))
  return Solution(
    np.ldexp(weights, fine),
    np.ldexp(closing, fine),
    np.ldexp(errors, unit + fine),
  )


def tables(
  thresholds: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns value and slope of the network c at each threshold.

  They give c(x) = value_j + slope_j (x - b_j) for b_j <= x <= b_(j+1). They are
  prefix sums of weights that nearly cancel, so they are summed exactly and
  rounded once.

  Args:
    thresholds: float64[n], ascending.
    weights: float64[n].

  Returns:
    (values, slopes): float64[n] each; c at b_j, and its slope right of b_j.
  """
  bs, unit = _integers(thresholds)
  ws, fine = _integers(weights)
  slope = value = 0
  before = bs[0]
  values, slopes = [], []
  for b, w in zip(bs, ws, strict=True):
    value += slope * (b - before)
    before = b
    slope += w
    values.append(float(value))
    slopes.append(float(slope))
  return np.ldexp(values, unit + fine), np.ldexp(slopes, fine)


def _integers(values: np.ndarray) -> tuple[list[int], int]:
  """Returns integers and an exponent, with values = integers * 2^exponent."""
  mantissas, exponents = np.frexp(values)
  exponents = np.where(mantissas == 0, exponents.max(), exponents) - 53
  lowest = int(exponents.min())
  integers = np.ldexp(mantissas, 53).astype(np.int64).tolist()
  shifts = (exponents - lowest).tolist()
  return [i << s for i, s in zip(integers, shifts, strict=True)], lowest
