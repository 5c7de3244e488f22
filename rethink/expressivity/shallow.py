"""The network of Theorem 1: c(z) = sum_j w_j max(<a, z> - b_j, 0).

It has d + n + K n weights: a direction, n thresholds, and n weights for each of
K outputs. In the paper (section 4 and appendix C) K = 1: 2n + d.
"""

import dataclasses
import functools

import numpy as np
import scipy.sparse

from rethink.expressivity import exact, layers, projections


@dataclasses.dataclass(frozen=True)
class Network:
  """A two-layer ReLU network whose hidden units share one direction.

  Attributes:
    direction: float64[d], a.
    thresholds: float64[n], b, ascending.
    weights: float64[n, K], w.
    scalar: True if outputs are [m] rather than [m, 1].
  """

  direction: np.ndarray
  thresholds: np.ndarray
  weights: np.ndarray
  scalar: bool = True

  @property
  def num_weights(self) -> int:
    """Number of weights: direction, thresholds and output weights."""
    return self.direction.size + self.thresholds.size + self.weights.size

  def __call__(self, points: projections.Points) -> np.ndarray:
    """Computes the outputs, float64[m] or [m, K], to a few units of rounding.

    Args:
      points: [m, ...] of d numbers each, read in blocks.

    Raises:
      DataError: naming a point that is not finite.
    """
    projected = projections.project(points, self.direction[None])
    return self.along(projected.take(0))

  def along(self, x: projections.Projection) -> np.ndarray:
    """Returns the outputs at projections[m], in O((n + m) log n).

    It finds the linear piece of every point by binary search, instead of adding
    up n hinges.
    """
    b, values, slopes = self.thresholds, *self._tables
    segment = np.searchsorted(b, x.high, side="right") - 1
    segment -= (x.high == b[segment]) & (x.low < 0)  # just below the threshold
    inside = segment >= 0
    j = segment[inside]
    distance = (x.high[inside] - b[j]) + x.low[inside]
    out = np.zeros((len(x.high), self.weights.shape[1]))
    out[inside] = values[j] + slopes[j] * distance[:, None]
    return out[:, 0] if self.scalar else out

  @property
  def layers(self) -> tuple[layers.Layer, ...]:
    """The network on <a, z> as a hidden layer and an output layer."""
    hidden = scipy.sparse.csr_array(np.ones((len(self.thresholds), 1)))
    output = scipy.sparse.csr_array(self.weights.T)
    return (
      layers.Layer(hidden, -self.thresholds),
      layers.Layer(output, np.zeros(self.weights.shape[1])),
    )

  @property
  def lipschitz(self) -> float:
    """The Lipschitz constant over all of R^d, for Euclidean norms."""
    steepest = np.linalg.norm(self._tables[1], axis=1).max()
    return float(steepest * np.linalg.norm(self.direction))

  @functools.cached_property
  def _tables(self) -> tuple[np.ndarray, np.ndarray]:
    pairs = [exact.tables(self.thresholds, w) for w in self.weights.T]
    values, slopes = zip(*pairs, strict=True)
    return np.stack(values, axis=1), np.stack(slopes, axis=1)
