"""The network of Corollary 1: depth k, width O(n / k), O(n + d) weights.

The sorted points are divided into k groups of neighbours, and layer l has the
hinges of group l. Each layer also passes on x, as max(x - b_1, 0), and the sum
of all earlier groups. The last hinge of a group makes its sum constant from
there on. The sum that is passed on therefore stays within the range of the
fitted values; a shift makes it positive, and ReLU leaves it unchanged. So the
multiplexer of the paper's proof is not needed: see `docs/expressivity.md`.
"""

import dataclasses
import functools

import numpy as np
import scipy.sparse

from rethink.expressivity import layers, projections, shallow

_BLOCK = 2**17  # activations computed at a time, so that they stay in the cache


@dataclasses.dataclass(frozen=True)
class DeepNetwork:
  """A feed-forward ReLU network on one projection of its input.

  Attributes:
    direction: float64[d], a; the first layer is <a, z>, without ReLU.
    thresholds: float64[m_l] per hidden layer, ascending through all layers.
    weights: float64[m_l, K] per hidden layer.
    shift: float64[K]; added to the first sums, subtracted from the output.
    scalar: True if outputs are [m] rather than [m, 1].
  """

  direction: np.ndarray
  thresholds: tuple[np.ndarray, ...]
  weights: tuple[np.ndarray, ...]
  shift: np.ndarray
  scalar: bool = True

  @property
  def depth(self) -> int:
    """Number of hidden layers."""
    return len(self.thresholds)

  @property
  def width(self) -> int:
    """Number of units of the widest hidden layer."""
    return max(len(layer.bias) for layer in self.layers[:-1])

  @property
  def num_weights(self) -> int:
    """Number of nonzero entries of the direction, matrices and biases."""
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
    """The hidden layers, then the output layer.

    The units of a hidden layer are x, the K sums, and the m_l hinges.
    """
    start, outputs = self.thresholds[0][0], len(self.shift)
    one, identity = np.ones((1, 1)), np.eye(outputs)

    def layer(blocks: list, bias: list) -> layers.Layer:
      matrix = scipy.sparse.csr_array(scipy.sparse.block_array(blocks))
      return layers.Layer(matrix, np.concatenate(bias))

    def column(b: np.ndarray) -> np.ndarray:
      return np.ones((len(b), 1))

    b = self.thresholds[0]
    zero = scipy.sparse.csr_array((outputs, 1))
    found = [layer([[one], [zero], [column(b)]], [[-start], self.shift, -b])]
    for b, w in zip(self.thresholds[1:], self.weights[:-1], strict=True):
      rows = [
        [one, None, None],
        [None, identity, w.T],
        [column(b), None, None],
      ]
      # Later layers receive x - b_1, so their thresholds are relative to b_1.
      found.append(layer(rows, [np.zeros(1 + outputs), start - b]))
    found.append(layer([[zero, identity, self.weights[-1].T]], [-self.shift]))
    return tuple(found)

  def __call__(self, points: projections.Points) -> np.ndarray:
    """Computes the outputs layer by layer in plain float64: [m] or [m, K].

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
    """Returns the same function as a network with one hidden layer."""
    return shallow.Network(
      self.direction,
      np.concatenate(self.thresholds),
      np.concatenate(self.weights),
      self.scalar,
    )
