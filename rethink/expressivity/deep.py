"""The network of Corollary 1: depth k, width O(n / k), O(n + d) weights.

Layer l holds the hinges of the l-th of k groups of neighbouring points. Beside
them a layer carries x, as max(x - b_1, 0), and the sum of all earlier groups.
Each group ends with a hinge that makes its sum constant from there on, so a
carried sum stays among the values that were fitted, and after a shift it is
positive: ReLU passes it on unchanged. No multiplexer is needed.
`docs/expressivity.md` has the proof.
"""

import dataclasses
import functools

import numpy as np
import scipy.sparse

from rethink.expressivity import layers, projections, shallow

_BLOCK = 2**17  # activations of a layer at a time: they stay in the cache


@dataclasses.dataclass(frozen=True)
class DeepNetwork:
  """A feed-forward ReLU network on one projection of its input.

  Attributes:
    direction: float64[d]; the first layer is <a, z>, without ReLU.
    thresholds: float64[m_l] per hidden layer, ascending through all of them.
    weights: float64[m_l, K] per hidden layer.
    shift: float64[K]; added before the carried sums, subtracted at the end.
    scalar: whether outputs are [m] rather than [m, 1].
  """

  direction: np.ndarray
  thresholds: tuple[np.ndarray, ...]
  weights: tuple[np.ndarray, ...]
  shift: np.ndarray
  scalar: bool = True

  @property
  def depth(self) -> int:
    """Hidden layers."""
    return len(self.thresholds)

  @property
  def width(self) -> int:
    """Units of the widest hidden layer."""
    return max(len(layer.bias) for layer in self.layers[:-1])

  @property
  def num_weights(self) -> int:
    """Entries of direction, matrices and biases that are not zero."""
    entries = [self.direction]
    for layer in self.layers:
      entries += [layer.matrix.data, layer.bias]
    return sum(int(np.count_nonzero(array)) for array in entries)

  @property
  def lipschitz(self) -> float:
    """The Lipschitz constant over all of R^d, for Euclidean norms."""
    return self.closed_form().lipschitz

  @functools.cached_property
  def layers(self) -> tuple[layers.Layer, ...]:
    """The hidden layers, then the output.

    Units of a hidden layer: x, the sums[K], the hinges[m_l].
    """
    start, outputs = self.thresholds[0][0], len(self.shift)
    one, identity = np.ones((1, 1)), np.eye(outputs)

    def made(blocks: list, bias: list) -> layers.Layer:
      matrix = scipy.sparse.csr_array(scipy.sparse.block_array(blocks))
      return layers.Layer(matrix, np.concatenate(bias))

    def column(b: np.ndarray) -> np.ndarray:
      return np.ones((len(b), 1))

    b = self.thresholds[0]
    zero = scipy.sparse.csr_array((outputs, 1))
    found = [made([[one], [zero], [column(b)]], [[-start], self.shift, -b])]
    for b, w in zip(self.thresholds[1:], self.weights[:-1], strict=True):
      rows = [
        [one, None, None],
        [None, identity, w.T],
        [column(b), None, None],
      ]
      found.append(made(rows, [np.zeros(1 + outputs), start - b]))
    found.append(made([[zero, identity, self.weights[-1].T]], [-self.shift]))
    return tuple(found)

  def __call__(self, points: projections.Points) -> np.ndarray:
    """float64[m] or [m, K]: the outputs, layer by layer in plain float64.

    Args:
      points: [m, ...] of d numbers each, read in blocks.

    Raises:
      DataError: naming a point that is not finite.
    """
    projected = projections.project(points, self.direction[None])
    x = projected.high
    size = max(1, _BLOCK // self.width)
    out = np.empty((x.shape[1], len(self.shift)))
    for start in range(0, x.shape[1], size):
      index = slice(start, start + size)
      out[index] = layers.forward(self.layers, x[:, index]).T
    return out[:, 0] if self.scalar else out

  def closed_form(self) -> shallow.Network:
    """The same function as one hidden layer, from the same numbers."""
    return shallow.Network(
      self.direction,
      np.concatenate(self.thresholds),
      np.concatenate(self.weights),
      self.scalar,
    )
