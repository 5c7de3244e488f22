"""Measures how well a constructed network fits its points."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from rethink.expressivity import deep, layers, projections, shallow

TOLERANCE = 1e-4  # largest error allowed for any output at any point


class Certificate(NamedTuple):
  """The measured errors of a network at the points that it was built for.

  Attributes:
    points: number of points, n.
    num_weights: weights and biases that are not zero by construction.
    largest_error: largest error over all points and outputs, in float64.
    wrong_labels: points with a wrong label. With one output, the output is
      nearer to another label; with several, another output is the largest.
    rational_points: number of points that were also evaluated without rounding.
    rational_error: largest error at these points.
  """

  points: int
  num_weights: int
  largest_error: float
  wrong_labels: int
  rational_points: int
  rational_error: float

  @property
  def holds(self) -> bool:
    """True if all labels are right and all errors are at most 1e-4."""
    errors = max(self.largest_error, self.rational_error)
    return self.wrong_labels == 0 and errors <= TOLERANCE


def certify(
  network: shallow.Network | deep.DeepNetwork,
  points: projections.Points,
  values: Any,
  rational: Sequence[int] = (0,),
) -> Certificate:
  """Evaluates a network at all points and compares with the wanted values.

  Args:
    network: a network that `construct.fit` returned.
    points: [n, ...].
    values: [n] or [n, K].
    rational: positions of the points at which the network is also evaluated in
      fractions, layer by layer. Each takes O(n) additions of some microseconds.
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
