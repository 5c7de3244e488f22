"""The triangular system of Theorem 1 in exact integer arithmetic, O(n).

Floating-point numbers are integers times powers of two, and Python's integers
have no limit: slopes and values along the direction are summed without any
rounding, however much cancels. Only a weight itself is rounded, to float64, and
the next weight makes good what that has changed.
"""

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from rethink.expressivity import projections

_POINT_BITS = 60  # below the unit of the thresholds, kept of a projection
_WEIGHT_BITS = 80  # after the point, kept of a weight times the whole range


class Solution(NamedTuple):
  """Weights of one output.

  Attributes:
    weights: float64[n], one per point.
    closing: float64[m], one per closed position.
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
  """Solves A w = y for A_ij = max(x_i - b_j, 0), never forming A.

  Between two thresholds the network is linear, with the sum of all earlier
  weights as its slope; that sum and the value at the last point are all that
  the recurrence remembers.

  Args:
    points: Projection[n], ascending, b_i < x_i <= b_(i+1).
    thresholds: float64[n], ascending multiples of 2^unit.
    unit: an exponent.
    values: float64[n].
    closed: positions i > 0 where a further weight at b_i first makes the
      slope 0, as far as float64 can.
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
  slope = value = 0
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
  """What c(x) = value_j + slope_j (x - b_j), b_j <= x <= b_(j+1), needs.

  Prefix sums of weights whose partial sums cancel, each rounded once.

  Args:
    thresholds: float64[n], ascending.
    weights: float64[n].

  Returns:
    (values, slopes): float64[n] each; c at b_j, and its slope after b_j.
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
  """Integers and an exponent: values = integers * 2^exponent, exactly."""
  mantissas, exponents = np.frexp(values)
  exponents = np.where(mantissas == 0, exponents.max(), exponents) - 53
  lowest = int(exponents.min())
  whole = np.ldexp(mantissas, 53).astype(np.int64).tolist()
  shifts = (exponents - lowest).tolist()
  return [w << s for w, s in zip(whole, shifts, strict=True)], lowest
