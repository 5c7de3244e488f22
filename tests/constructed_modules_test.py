"""Built networks as Flax modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import evaluate
from rethink.expressivity import construct, modules

N, CLASSES = 150, 10


def _built(depth, outputs):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (N, 4, 4, 3)).astype(np.uint8)
  labels = rng.integers(0, CLASSES, N)
  values = np.eye(CLASSES)[labels] if outputs > 1 else labels
  return images, labels, construct.fit(images, values, depth)


@pytest.mark.parametrize("outputs", [1, CLASSES])
@pytest.mark.parametrize("depth", [None, 1, 2, 11])
def test_in_float64_a_module_is_the_network(depth, outputs):
  images, labels, network = _built(depth, outputs)
  module, params = modules.export(network, CLASSES)
  others = np.random.default_rng(1).integers(0, 256, images.shape)
  both = np.concatenate([images, others])
  with jax.enable_x64():
    got = evaluate.logits(module, params, {}, jnp.asarray(both), jnp.float64)
  want = network(both).reshape(2 * N, outputs)
  if outputs == 1:
    want = -((want - np.arange(CLASSES)) ** 2)
  want *= modules.SHARPNESS
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)
  assert (got[:N].argmax(axis=1) == labels).all()


@pytest.mark.parametrize("depth", [None, 3])
def test_a_module_holds_the_numbers_of_the_network_only(depth):
  images, _, network = _built(depth, 1)
  module, params = modules.export(network, CLASSES)
  empty = module.init(jax.random.key(0), jnp.zeros(images.shape), train=False)
  shapes = jax.tree.map(jnp.shape, empty["params"])
  assert shapes == jax.tree.map(np.shape, dict(params))
  if depth is None:
    assert sum(p.size for p in params.values()) == network.num_weights


def test_bfloat16_cannot_tell_the_points_apart():
  images, labels, network = _built(None, 1)
  module, params = modules.export(network, CLASSES)
  got = evaluate.logits(module, params, {}, images, jnp.bfloat16)
  assert np.mean(got.argmax(axis=1) == labels) < 0.9
