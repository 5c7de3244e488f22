"""Components of a user's own that return what they should not: one sentence."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import compiled, descent, errors, example, models, settings
from rethink.corrupting import kinds
from tests.conftest import random_info


def no_regularizer():
  return None


def no_optimizer():
  return 3


def rates(step, run):
  del run
  return jnp.ones(3) * step


class NoCall(nn.Module):
  num_classes: int


class NoModule:
  def __init__(self, num_classes):
    del num_classes


def none(num_classes):
  del num_classes


def _static(config, sharding):
  run = settings.resolve(config)
  return compiled.static_arguments(run, 10, sharding(1)), run


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("NoCall", r"has no __call__\(self, images"),
    ("NoModule", "is a class, but must be a Flax module"),
    ("none", "is a function that returns .*NoneType.*must be a Flax module"),
  ],
)
def test_what_is_no_module(name, said):
  call = models.parse(f"tests.own_components_test:{name}()")
  with pytest.raises(errors.ConfigError, match=said):
    models.build(call, 10, {})


def test_what_is_no_regularizer(config, sharding):
  config.regularizers = ("tests.own_components_test:no_regularizer()",)
  with pytest.raises(errors.ConfigError, match="returns NoneType; it must"):
    _static(config, sharding)


def test_what_is_no_optimizer(config):
  config.optimizer = "tests.own_components_test:no_optimizer()"
  call = settings.resolve(config).optimizer
  with pytest.raises(errors.ConfigError, match="returns int; it must return"):
    descent.init(call.static, call.numbers, jnp.float32(1), {})


def test_what_is_no_factor_on_the_learning_rate(config, sharding):
  config.schedule = "tests.own_components_test:rates()"
  static, run = _static(config, sharding)
  traced = compiled.traced_arguments(run, None, None)
  with pytest.raises(
    errors.ConfigError, match=r"schedule returns shape \(3,\)"
  ):
    compiled.learning_rate(static, traced, jnp.int32(1))


@pytest.mark.parametrize(
  ("facts", "said"),
  [
    (3, "it returns int"),
    (np.zeros(3), r"it returns float64\[3\]"),
    ({"p": np.float32(1)}, "not JSON serializable"),
    ({"p": float("nan")}, "not JSON compliant"),
  ],
)
def test_facts_of_a_corruption_are_json(facts, said):
  def noise(ids, labels, context):
    del ids, context
    return labels, facts

  ids = np.arange(4, dtype=np.uint64)
  split = example.Split("train", True, ids, np.zeros(4, np.int32), ids, list)
  context = example.Context(0, random_info(), 8)._replace(split=split)
  with pytest.raises(errors.ConfigError, match=f"noise must return.*{said}"):
    kinds.corrupt_labels((noise,), context, lambda rows: rows)
