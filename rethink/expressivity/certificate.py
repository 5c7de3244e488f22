"""What a built network does at its points, measured rather than claimed."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from rethink.expressivity import deep, layers, projections, shallow

TOLERANCE = 1e-4  # of any output at any point


class Certificate(NamedTuple):
  """A network beside the values that it was built for.

  Attributes:
    points: n.
    num_weights: numbers of the network that are not zero by construction.
    largest_error: over all points and outputs, in float64.
    wrong_labels: points whose value another label is nearer to (one output),
      or whose largest output is another (several).
    rational_points: how many points were also evaluated without rounding.
    rational_error: largest error of these.
  """

  points: int
  num_weights: int
  largest_error: float
  wrong_labels: int
  rational_points: int
  rational_error: float

  @property
  def holds(self) -> bool:
    """Whether all labels are right and all errors within 1e-4."""
    errors = max(self.largest_error, self.rational_error)
    return self.wrong_labels == 0 and errors <= TOLERANCE


def certify(
  network: shallow.Network | deep.DeepNetwork,
  points: projections.Points,
  values: Any,
  rational: Sequence[int] = (0,),
) -> Certificate:
  """Evaluates a network at all points, from the points themselves on.

  Args:
    network: as `construct.fit` returns it.
    points: [n, ...].
    values: [n] or [n, K].
    rational: positions where the definition, layer by layer, is evaluated in
      fractions too: O(n) additions of some microseconds each.
  """
  out = np.asarray(network(points)).reshape(points.shape[0], -1)
  wanted = np.asarray(values, np.float64).reshape(out.shape)
  if out.shape[1] == 1:
    wrong = np.abs(out - wanted)[:, 0] >= 0.5
  else:
    wrong = out.argmax(axis=1) != wanted.argmax(axis=1)
  worst = Fraction(0)
  for i in rational:
    x = _rational_projection(network.direction, points[i : i + 1])
    exact = layers.rational(network.layers, x)
    for got, want in zip(exact, wanted[i].tolist(), strict=True):
      worst = max(worst, abs(got - Fraction(want)))
  return Certificate(
    points=len(out),
    num_weights=network.num_weights,
    largest_error=float(np.abs(out - wanted).max()),
    wrong_labels=int(wrong.sum()),
    rational_points=len(rational),
    rational_error=float(worst),
  )


def _rational_projection(direction: np.ndarray, point: Any) -> Fraction:
  pairs = zip(direction.tolist(), np.ravel(point).tolist(), strict=True)
  return sum((Fraction(a) * Fraction(z) for a, z in pairs), Fraction(0))
