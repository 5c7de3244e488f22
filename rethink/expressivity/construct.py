"""Constructs networks that fit any n points.

Theorem 1 and Corollary 1 of the paper (section 4, appendix C).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from rethink import bits, errors
from rethink.expressivity import certificate, deep, exact, projections, shallow

_LARGEST_VALUE = 1e6  # of the magnitudes of the values to fit
_SMALLEST_GAP = 1e-12  # between two projections, relative to their range
# Points are projected on this many directions; further ones are sums of them.
_BASE_DIRECTIONS = 8
_MOST_DIRECTIONS = 1024  # tried before giving up
_SMALLEST_RANGE = 1e-100  # keeps slopes far from overflow


@overload
def fit(
  points: projections.Points,
  values: Any,
  depth: None = None,
  *,
  ids: Sequence[Any] | None = None,
  directions: int = 16,
  seed: int = 0,
) -> shallow.Network: ...


@overload
def fit(
  points: projections.Points,
  values: Any,
  depth: int,
  *,
  ids: Sequence[Any] | None = None,
  directions: int = 16,
  seed: int = 0,
) -> deep.DeepNetwork: ...


def fit(
  points: projections.Points,
  values: Any,
  depth: int | None = None,
  *,
  ids: Sequence[Any] | None = None,
  directions: int = 16,
  seed: int = 0,
) -> shallow.Network | deep.DeepNetwork:
  """Builds a ReLU network c with |c(z_i) - y_i| <= 1e-4 at every point.

  It tries several random directions and uses the one whose two closest
  projections are farthest apart, relative to the range. Equal points are
  merged. The bound holds in real arithmetic; `certificate.certify` measures
  the errors in float64.

  Args:
    points: [n, ...], n >= 1; real, read in blocks and never all at once.
    values: real [n], or [n, K] for K outputs; at most 1e6 in magnitude.
    depth: number of hidden layers, 1 <= depth <= number of distinct points,
      for the network of Corollary 1; None for the network of Theorem 1.
    ids: [n]; names of the points in messages; by default their positions.
    directions: number of directions to try; more are tried if none of them
      separates the points well enough.
    seed: draws the directions.

  Returns:
    A `shallow.Network`, or a `deep.DeepNetwork` if `depth` is given.

  Raises:
    DataError: naming the points, if a point or value is not finite or too
      large, equal points have different values, two points are too close for
      float64 in every direction, or an error exceeds 1e-4.
    ConfigError: if depth or directions are out of range.
  """
  n = points.shape[0]

  def name(i: int) -> str:
    return str(i if ids is None else ids[i])

  y = _outputs(values, n, name)
  if directions < 1:
    raise errors.ConfigError(f"directions must be 1 or more, not {directions}")
  base = projections.directions(points, _BASE_DIRECTIONS, seed)
  projected = projections.project(points, base, name)
  # Equal points are found by one projection, since it projects them equally.
  kept = _distinct(points, y, projected.take(0), name)
  if depth is not None and not 1 <= depth <= len(kept):
    raise errors.ConfigError(
      f"depth must be between 1 and {len(kept)}, the number of distinct"
      f" points, not {depth}"
    )
  mixture = _choose(projected, kept, directions, seed)
  direction, x = mixture @ base, projected.mix(mixture)
  order = _order(x, kept, name)
  x, y = x.take(order), y[order]
  thresholds, unit = _thresholds(x, lambda i: name(order[i]))
  groups = np.array_split(np.arange(len(order)), depth or 1)
  starts = [int(group[0]) for group in groups[1:]]
  solutions = [
    exact.solve(x, thresholds, unit, column, frozenset(starts))
    for column in y.T
  ]
  _check_errors([s.errors for s in solutions], lambda i: name(order[i]))
  scalar = np.ndim(values) == 1
  weights = np.stack([s.weights for s in solutions], axis=1)
  if depth is None:
    return shallow.Network(direction, thresholds, weights, scalar)
  # The threshold that begins a group occurs twice: in the layer before, where
  # its weight makes the sum constant, and in the group's own layer.
  closing = np.stack([s.closing for s in solutions], axis=1)
  ends = np.array(starts, int) + np.arange(1, len(starts) + 1)
  hinges = np.insert(thresholds, starts, thresholds[starts])
  weights = np.insert(weights, starts, closing, axis=0)
  return deep.DeepNetwork(
    direction,
    tuple(np.split(hinges, ends)),
    tuple(np.split(weights, ends)),
    1 - np.minimum(y.min(axis=0), 0.0),
    scalar,
  )


def _outputs(values: Any, n: int, name: Callable[[int], str]) -> np.ndarray:
  """Checks the values and returns them as float64[n, K]."""
  y = np.asarray(values)
  if y.ndim not in (1, 2) or len(y) != n or n == 0 or y.shape[-1] == 0:
    raise errors.DataError(
      f"values must be [{n}] or [{n}, K] for {n} points (at least one), not"
      f" {list(y.shape)}"
    )
  if y.dtype.kind not in "biuf":
    raise errors.DataError(f"values must be real numbers, not {y.dtype}")
  y = y.reshape(n, -1).astype(np.float64)
  good = (np.abs(y) <= _LARGEST_VALUE).all(axis=1)  # False for NaN
  if not good.all():
    i = int(np.argmin(good))
    raise errors.DataError(
      f"the value of point {name(i)}, {y[i].tolist()}, is not finite or exceeds"
      f" {_LARGEST_VALUE:.0e}; scale the values down"
    )
  return y


def _distinct(
  points: projections.Points,
  values: np.ndarray,
  projected: projections.Projection,
  name: Callable[[int], str],
) -> np.ndarray:
  """Returns the positions of the distinct points, ascending.

  Of equal points it returns the first.

  Raises:
    DataError: naming two equal points with different values.
  """
  order = np.lexsort((projected.low, projected.high))
  close = _relative_gaps(projected.take(order)) < _SMALLEST_GAP
  kept = np.ones(len(order), bool)
  seen: dict[bytes, int] = {}  # the distinct points of one cluster
  for k in np.flatnonzero(close):
    if k == 0 or not close[k - 1]:
      seen = {_bytes(points, order[k]): int(order[k])}
    i = int(order[k + 1])
    first = seen.setdefault(_bytes(points, i), i)
    if first == i:
      continue
    if (values[first] != values[i]).any():
      raise errors.DataError(
        f"points {name(first)} and {name(i)} are equal, but their values are"
        f" not: {values[first].tolist()} and {values[i].tolist()}; no function"
        " has both values, so remove one of the points"
      )
    kept[i] = False
  return np.flatnonzero(kept)


def _bytes(points: projections.Points, i: int) -> bytes:
  point = np.asarray(points[i : i + 1])
  return (point + point.dtype.type(0)).tobytes()  # turns -0.0 into 0.0


def _relative_gaps(x: projections.Projection) -> np.ndarray:
  """Returns float64[n - 1], gaps of ascending projections over their range.

  All are 0 if the range is.
  """
  spread = x.high[-1] - x.high[0]
  if spread < _SMALLEST_RANGE:
    return np.zeros(len(x.high) - 1)
  return x.gaps() / spread


def _choose(
  base: projections.Projection,
  kept: np.ndarray,
  directions: int,
  seed: int,
) -> np.ndarray:
  """Chooses the mixture of the m base directions with the largest minimum gap.

  Mixing known projections costs O(n); one more projection would cost O(n d). If
  none of `directions` mixtures separates the points well enough, more are
  tried.

  Returns:
    float64[m], the coefficients: -1, 0 or 1.
  """
  x = base.take((slice(None), kept))
  # Only gaps matter here: without the offset, float64 keeps enough digits.
  x = (x.high - x.high[:, :1]) + (x.low - x.low[:, :1])
  tries = np.arange(max(directions, _MOST_DIRECTIONS) if len(x) > 1 else 1)
  words = bits.bits(seed, "expressivity/mixture", tries, len(x))
  mixtures = bits.integers(words, 3) - 1.0
  mixtures[:, 0] = 1  # never the zero vector
  best = -math.inf, mixtures[0]
  for k, mixture in enumerate(mixtures):
    ordered = np.sort(mixture @ x)
    spread = max(ordered[-1] - ordered[0], _SMALLEST_RANGE)
    smallest = np.diff(ordered).min(initial=math.inf) / spread
    if smallest > best[0]:
      best = smallest, mixture
    if k + 1 >= directions and best[0] >= _SMALLEST_GAP:
      break
  return best[1]


def _order(
  x: projections.Projection, kept: np.ndarray, name: Callable[[int], str]
) -> np.ndarray:
  """Sorts the distinct points by their projections.

  Raises:
    DataError: naming two points that are too close to each other.
  """
  order = kept[np.lexsort((x.low[kept], x.high[kept]))]
  gaps = _relative_gaps(x.take(order))
  if gaps.min(initial=math.inf) < _SMALLEST_GAP:
    at = int(gaps.argmin())
    raise errors.DataError(
      f"points {name(order[at])} and {name(order[at + 1])} are only"
      f" {gaps[at]:.1e} of the range apart along the best direction found;"
      f" float64 needs {_SMALLEST_GAP:.0e}, so leave one of them out"
    )
  return order


def _thresholds(
  x: projections.Projection, name: Callable[[int], str]
) -> tuple[np.ndarray, int]:
  """Returns thresholds b, multiples of 2^unit, and the exponent `unit`.

  b_(i+1) is the first multiple of 2^unit that is not below x_i. Any b_(i+1) in
  [x_i, x_(i+1)) gives a triangular system. A lower one is better: the diagonal
  entries x_i - b_i, which are the eigenvalues, are larger then. b_1 lies one
  range below x_1, which keeps the first slope small.

  Raises:
    DataError: naming two points without a multiple of 2^unit between them.
  """
  largest = np.abs(x.high).max()
  spread = x.high[-1] - x.high[0] or largest or 1.0
  unit = math.frexp(largest + spread)[1] - 52
  steps = np.ldexp(x.high[:-1], -unit)
  up = np.ceil(steps)
  up += (up == steps) & (x.low[:-1] > 0)  # x_i lies just above `high`
  first = np.floor(np.ldexp(x.high[0] - spread, -unit))
  b = np.ldexp(np.concatenate([[first], up]), unit)
  good = (x.high - b) + x.low > 0
  if not good.all():
    i = int(np.argmin(good))
    raise errors.DataError(
      f"points {name(i - 1)} and {name(i)}: float64 has no threshold between"
      f" their projections {x.high[i - 1]!r} and {x.high[i]!r}; subtract the"
      " mean of the points"
    )
  return b, unit


def _check_errors(
  found: Sequence[np.ndarray], name: Callable[[int], str]
) -> None:
  worst = np.abs(np.stack(found)).max(axis=0)
  if not worst.max() <= certificate.TOLERANCE:
    i = int(worst.argmax())
    raise errors.DataError(
      f"point {name(i)} is fitted only to {worst[i]:.1e}, not to"
      f" {certificate.TOLERANCE:.0e}: the function is so steep there that"
      " float64 has no better weight; use values of a smaller range"
    )
