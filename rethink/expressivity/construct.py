"""Networks that fit any n points, computed rather than trained.

Theorem 1 and Corollary 1 of the paper (section 4, appendix C).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rethink import errors
from rethink.expressivity import certificate, deep, exact, projections, shallow

_LARGEST_VALUE = 1e6
_SMALLEST_GAP = 1e-12  # of the range of the projections
_SMALLEST_RANGE = 1e-100  # slopes stay far from overflow


def fit(
  points: projections.Points,
  values: Any,
  depth: int | None = None,
  *,
  ids: Sequence[Any] | None = None,
  directions: int = 16,
  seed: int = 0,
) -> Any:
  """Builds a ReLU network c with |c(z_i) - y_i| <= 1e-4 at every point.

  Of several random directions the one is taken whose closest two projections
  are farthest apart, relative to the range. Equal points are merged.

  Args:
    points: [n, ...], n >= 1; real, read in blocks and never held whole.
    values: real [n], or [n, K] for K outputs; at most 1e6 in size.
    depth: hidden layers of the network, 1 <= depth <= n, built by Corollary 1;
      None builds the one of Theorem 1.
    ids: [n]; what to call a point in messages; by default its position.
    directions: how many are tried.
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
  candidates = projections.directions(points, directions, seed)
  projected = projections.project(points, candidates, name)
  kept = _distinct(points, y, projected.take(0), name)
  if depth is not None and not 1 <= depth <= len(kept):
    raise errors.ConfigError(
      f"depth must be between 1 and {len(kept)}, the number of distinct"
      f" points, not {depth}"
    )
  best, order = _choose(projected, kept, name)
  x, y = projected.take((best, order)), y[order]
  thresholds, unit = _thresholds(x, lambda i: name(order[i]))
  groups = np.array_split(np.arange(len(order)), depth or 1)
  starts = [int(group[0]) for group in groups[1:]]
  solutions = [
    exact.solve(x, thresholds, unit, column, frozenset(starts))
    for column in y.T
  ]
  _check_errors([s.errors for s in solutions], lambda i: name(order[i]))
  direction, scalar = candidates[best], np.ndim(values) == 1
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
    np.maximum(0.0, -y.min(axis=0)),
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
  projected: projections.Projection,
  kept: np.ndarray,
  name: Callable[[int], str],
) -> tuple[int, np.ndarray]:
  """The direction with the largest smallest gap, and the order along it.

  Raises:
    DataError: naming the two points that are closest even so.
  """
  best = None
  for k in range(len(projected.high)):
    x = projected.take((k, kept))
    order = np.lexsort((x.low, x.high))
    gaps = _relative_gaps(x.take(order))
    smallest = gaps.min(initial=math.inf)
    if best is None or smallest > best[0]:
      best = smallest, k, kept[order], int(gaps.argmin()) if len(gaps) else 0
  assert best is not None
  smallest, k, order, at = best
  if smallest < _SMALLEST_GAP:
    raise errors.DataError(
      f"points {name(order[at])} and {name(order[at + 1])} are {smallest:.1e}"
      f" of the range apart along the best of {len(projected.high)} directions,"
      f" closer than {_SMALLEST_GAP:.0e}; leave one out or try more directions"
    )
  return k, order


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
