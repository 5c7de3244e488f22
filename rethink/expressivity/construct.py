"""Networks that fit any n points, computed rather than trained.

Theorem 1 and Corollary 1 of the paper (section 4, appendix C).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from rethink import bits, errors
from rethink.expressivity import certificate, deep, exact, projections, shallow

_LARGEST_VALUE = 1e6
_SMALLEST_GAP = 1e-12  # of the range of the projections
_BASE_DIRECTIONS = 8  # are projected on; others are sums of them
_MOST_DIRECTIONS = 1024
_SMALLEST_RANGE = 1e-100  # slopes stay far from overflow


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

  Of several random directions the one is taken whose closest two projections
  are farthest apart, relative to the range. Equal points are merged. The bound
  holds of real arithmetic; `certificate.certify` evaluates the network.

  Args:
    points: [n, ...], n >= 1; real, read in blocks and never held whole.
    values: real [n], or [n, K] for K outputs; at most 1e6 in size.
    depth: hidden layers of the network, 1 <= depth <= n, built by Corollary 1;
      None builds the one of Theorem 1.
    ids: [n]; what to call a point in messages; by default its position.
    directions: how many are tried; more, if none of them is good enough.
    seed: draws the directions.

  Returns:
    A `shallow.Network`, or a `deep.DeepNetwork` if `depth` is given.

  Raises:
    DataError: if a point or value is not finite or too large, equal points
      have different values, points are too close for float64 in every
      direction, or the fit is not good to 1e-4; names the points.
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
  """float64[n, K], checked."""
  y = np.asarray(values)
  if y.ndim not in (1, 2) or len(y) != n or n == 0 or y.shape[-1] == 0:
    raise errors.DataError(
      f"values must be [{n}] or [{n}, K] for {n} points (at least one), not"
      f" {list(y.shape)}"
    )
  if y.dtype.kind not in "biuf":
    raise errors.DataError(f"values must be real numbers, not {y.dtype}")
  y = y.reshape(n, -1).astype(np.float64)
  good = (np.abs(y) <= _LARGEST_VALUE).all(axis=1)  # NaN is not
  if not good.all():
    i = int(np.argmin(good))
    raise errors.DataError(
      f"the value of point {name(i)}, {y[i].tolist()}, is not finite or beyond"
      f" {_LARGEST_VALUE:.0e}; scale the values down"
    )
  return y


def _distinct(
  points: projections.Points,
  values: np.ndarray,
  projected: projections.Projection,
  name: Callable[[int], str],
) -> np.ndarray:
  """Positions of the first of each set of equal points, ascending.

  Raises:
    DataError: naming two equal points of different values.
  """
  order = np.lexsort((projected.low, projected.high))
  close = _relative_gaps(projected.take(order)) < _SMALLEST_GAP
  kept = np.ones(len(order), bool)
  seen: dict[bytes, int] = {}
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
        " has both"
      )
    kept[i] = False
  return np.flatnonzero(kept)


def _bytes(points: projections.Points, i: int) -> bytes:
  point = np.asarray(points[i : i + 1])
  return (point + point.dtype.type(0)).tobytes()  # makes -0.0 the same as 0.0


def _relative_gaps(x: projections.Projection) -> np.ndarray:
  """float64[n - 1], of ascending projections; 0 where there is no range."""
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
  """float64[m]: the sum of the m base directions with the largest smallest gap.

  A sum costs O(n) instead of the O(n d) of one more projection. Beyond the
  `directions` asked for, more are tried as long as none is good enough.
  """
  x = base.take((slice(None), kept))
  x = (x.high - x.high[:, :1]) + (x.low - x.low[:, :1])  # no offset
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
  """The distinct points in the order of their projections.

  Raises:
    DataError: naming two points that are too close.
  """
  order = kept[np.lexsort((x.low[kept], x.high[kept]))]
  gaps = _relative_gaps(x.take(order))
  if gaps.min(initial=math.inf) < _SMALLEST_GAP:
    at = int(gaps.argmin())
    raise errors.DataError(
      f"points {name(order[at])} and {name(order[at + 1])} are {gaps[at]:.1e}"
      " of the range apart along the best direction found, closer than"
      f" {_SMALLEST_GAP:.0e}; leave one of them out"
    )
  return order


def _thresholds(
  x: projections.Projection, name: Callable[[int], str]
) -> tuple[np.ndarray, int]:
  """(b, unit): b_(i+1) is the first multiple of 2^unit not below x_i.

  Any b_(i+1) in [x_i, x_(i+1)) gives a triangular system; the lower, the larger
  its diagonal x_i - b_i, which are its eigenvalues. b_1 lies one range below
  x_1, so that the first slope is no steeper than it has to be.

  Raises:
    DataError: naming two points that no float64 of that unit separates.
  """
  largest = np.abs(x.high).max()
  spread = x.high[-1] - x.high[0] or largest or 1.0
  unit = math.frexp(largest + spread)[1] - 52
  steps = np.ldexp(x.high[:-1], -unit)
  up = np.ceil(steps)
  up += (up == steps) & (x.low[:-1] > 0)
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
      f"point {name(i)} is fitted to {worst[i]:.1e} only, not to"
      f" {certificate.TOLERANCE:.0e}: next to so steep a piece of the function"
      " float64 has no closer weight; use values of a smaller range"
    )
