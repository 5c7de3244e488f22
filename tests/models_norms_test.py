import flax.linen as nn
import jax
import numpy as np
import pytest

from rethink import models
from rethink.models import mlp


@pytest.fixture
def images():
  return jax.random.normal(jax.random.key(1), (64, 3, 3, 2))


def _params(model, images):
  return model.init(jax.random.key(0), images, train=False)["params"]


def test_no_two_images_are_stretched_by_more_than_the_bound(images):
  model = mlp.Model(10, widths=(16, 8))
  params = _params(model, images)
  bound = models.norms(model, params)["lipschitz_bound"]

  def stretch(x, z):
    out = model.apply({"params": params}, np.stack([x, z]), train=False)
    return np.linalg.norm(out[0] - out[1]) / np.linalg.norm(x - z)

  x = np.asarray(images)
  found = [
    stretch(x[i], x[i] + s * x[i - 1]) for i in range(64) for s in (1, 9)
  ]
  assert 0 < max(found) <= bound


def test_the_bound_of_a_linear_network_is_its_constant(images):
  model = mlp.Model(10, widths=())
  params = _params(model, images)
  kernel = np.asarray(params["Dense_0"]["kernel"])
  bound = models.norms(model, params)["lipschitz_bound"]
  direction = np.linalg.svd(kernel)[0][:, 0]
  assert np.linalg.norm(direction @ kernel) == pytest.approx(bound, rel=1e-5)


def test_all_parameters_make_the_norm_and_only_some_models_know_a_bound(images):
  model = nn.Conv(3, (2, 2))
  params = model.init(jax.random.key(0), images)["params"]
  leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(params)]
  assert len(leaves) == 2
  assert models.norms(model, params) == {
    "weight_norm": pytest.approx(np.linalg.norm(np.concatenate(leaves)))
  }
