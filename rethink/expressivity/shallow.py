"""The network of Theorem 1: c(z) = sum_j w_j max(<a, z> - b_j, 0).

d + n + K n numbers: a direction, n thresholds, and n weights for each of K
outputs (paper, section 4 and appendix C, where K = 1: 2n + d).
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
    scalar: whether outputs are [m] rather than [m, 1].
  """

  direction: np.ndarray
  thresholds: np.ndarray
  weights: np.ndarray
  scalar: bool = True

  @property
  def num_weights(self) -> int:
    """Numbers that the network holds."""
    return self.direction.size + self.thresholds.size + self.weights.size

  def __call__(self, points: projections.Points) -> np.ndarray:
    """float64[m] or [m, K]: the outputs, right to some units in the last place.

    Args:
      points: [m, ...] of d numbers each, read in blocks.

    Raises:
      DataError: naming a point that is not finite.
    """
    projected = projections.project(points, self.direction[None])
    return self.along(projected.take(0))

  def along(self, x: projections.Projection) -> np.ndarray:
    """The outputs at projections[m]: O((n + m) log n) by sorted thresholds."""
    b, values, slopes = self.thresholds, *self._tables
    segment = np.searchsorted(b, x.high, side="right") - 1
    segment -= (x.high == b[segment]) & (x.low < 0)
    inside = segment >= 0
    j = segment[inside]
    distance = (x.high[inside] - b[j]) + x.low[inside]
    out = np.zeros((len(x.high), self.weights.shape[1]))
    out[inside] = values[j] + slopes[j] * distance[:, None]
    return out[:, 0] if self.scalar else out

  @property
  def layers(self) -> tuple[layers.Layer, ...]:
    """The plain ReLU sum, as a hidden layer and an output on <a, z>."""
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
