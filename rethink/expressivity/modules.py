"""Constructed networks as Flax modules, with their weights as parameters.

They take the same images or points that were given to `construct.fit`. Build
and run them under `jax.enable_x64()`: float32 cannot tell close projections
apart, as `docs/expressivity.md` shows.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rethink.expressivity import deep, shallow

# Difference between the logits of the right class and the next one: large
# enough for a cross-entropy near 0.
SHARPNESS = 20.0
_Params = Mapping[str, np.ndarray]


class Shallow(nn.Module):
  """The network of Theorem 1: one hidden ReLU layer.

  Attributes:
    num_classes: number of logits; see `_logits`.
    units: hidden units, n.
    outputs: outputs before `_logits`, K.
  """

  num_classes: int
  units: int
  outputs: int

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    del train
    x = _project(self, images)
    b = self.param("thresholds", _zeros, (self.units,))
    w = self.param("weights", _zeros, (self.units, self.outputs))
    hidden = nn.relu(x[:, None] - b[None])
    return _logits(_matmul(hidden, w), self.num_classes)


class Deep(nn.Module):
  """The network of Corollary 1, evaluated layer by layer.

  Only the hinges are parameters, because all other entries of the matrices are
  constants. A layer with fewer hinges than `width` is padded with weights of 0.

  Attributes:
    num_classes: number of logits; see `_logits`.
    depth: number of hidden layers.
    width: number of hinges in the widest hidden layer.
    outputs: outputs before `_logits`, K.
  """

  num_classes: int
  depth: int
  width: int
  outputs: int

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    del train
    shape = (self.depth, self.width)
    b = self.param("thresholds", _zeros, shape)
    w = self.param("weights", _zeros, (*shape, self.outputs))
    shift = self.param("shift", _zeros, (self.outputs,))
    start = b[0, 0]
    carried = nn.relu(_project(self, images) - start)

    def layer(sums: jax.Array, hinges: tuple) -> tuple[jax.Array, None]:
      b, w = hinges
      hidden = nn.relu(carried[:, None] - (b - start)[None])
      return nn.relu(sums + _matmul(hidden, w)), None

    sums = jnp.broadcast_to(shift, (len(images), self.outputs))
    sums, _ = jax.lax.scan(layer, sums, (b[:-1], w[:-1]))
    hidden = nn.relu(carried[:, None] - (b[-1] - start)[None])
    outputs = sums + _matmul(hidden, w[-1]) - shift[None]
    return _logits(outputs, self.num_classes)


def export(
  network: shallow.Network | deep.DeepNetwork, num_classes: int
) -> tuple[nn.Module, _Params]:
  """Returns a Flax module and its float64 parameters.

  Args:
    network: has one output, which is the label, or one output per class.
    num_classes: number of classes.
  """
  params = {"direction": network.direction}
  if isinstance(network, shallow.Network):
    units, outputs = network.weights.shape
    params |= {"thresholds": network.thresholds, "weights": network.weights}
    return Shallow(num_classes, units, outputs), params
  width, outputs = max(map(len, network.thresholds)), len(network.shift)
  b = np.zeros((network.depth, width))
  w = np.zeros((network.depth, width, outputs))
  for layer, (hinges, weights) in enumerate(
    zip(network.thresholds, network.weights, strict=True)
  ):
    b[layer, : len(hinges)], w[layer, : len(hinges)] = hinges, weights
  params |= {"thresholds": b, "weights": w, "shift": network.shift}
  return Deep(num_classes, network.depth, width, outputs), params


def _zeros(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  del key
  return jnp.zeros(shape)


def _project(module: nn.Module, images: jax.Array) -> jax.Array:
  points = images.reshape(len(images), -1)
  return _matmul(points, module.param("direction", _zeros, (points.shape[1],)))


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _logits(outputs: jax.Array, num_classes: int) -> jax.Array:
  """Turns outputs into logits, [n, num_classes].

  A single output is a label: the nearer a class is to it, the higher its logit.
  """
  if outputs.shape[1] == 1:
    classes = jnp.arange(num_classes, dtype=outputs.dtype)
    outputs = -jnp.square(outputs - classes[None])
  return SHARPNESS * outputs
