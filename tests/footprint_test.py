"""Memory and steps are counted before they are asked for."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from rethink import (
  compiled,
  console,
  errors,
  forward,
  models,
  schedules,
  settings,
  train_step,
)
from rethink.methods import footprint, runner, speed
from rethink.pipeline import resident
from tests import method_train_test


class Wide(nn.Module):
  """A user's own model that no machine holds."""

  num_classes: int
  width: int

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.Dense(self.width)(images.reshape(len(images), -1))
    return nn.Dense(self.num_classes)(x)


class Broken(nn.Module):
  """A user's own model with a fault."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    return {}["nothing"]


def _check(config, sharding, available=None, examples=320):
  run = settings.resolve(config)
  static = compiled.static_arguments(run, 10, sharding(1))
  keys = compiled.keys(0)
  length = schedules.Length(jnp.int32(1), jnp.int32(1))
  traced = compiled.traced_arguments(run, length, keys.noise)
  create = train_step.compile_initializer(static, 1, resident.shardings()[0])
  footprint.check(
    create,
    static,
    (traced, keys.init),
    examples,
    (8, 8, 1),
    config.eval_batch_size,
    available,
  )


def test_what_is_counted_is_what_is_there(config, sharding):
  # 64 x 32 + 32 and 32 x 10 + 10 floats; SGD keeps one more of each.
  parameters = 4 * (64 * 32 + 32 + 32 * 10 + 10)
  batch = 50 * 4 * (64 + 32)
  config.eval_batch_size = 1
  scalars = 100  # step and sums
  _check(config, sharding, 3 * parameters + batch + scalars)
  with pytest.raises(errors.ConfigError, match=r"config\.batch_size=50 needs"):
    _check(config, sharding, 3 * parameters + batch - 1)
  with pytest.raises(errors.ConfigError, match="has 2,410 parameters"):
    _check(config, sharding, 3 * parameters - 1)


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    (dict(model="mlp(widths=(16777216, 16777216))"), "has 281,4.* parameters"),
    (
      dict(model="tests.footprint_test:Wide(width=1000000000)"),
      "has 75,000,000,010 param",
    ),
    (dict(eval_batch_size=2 * 10**9), r"eval_batch_size=2,000,000,000 needs"),
  ],
)
def test_what_no_machine_holds_is_refused_with_figures(
  config, sharding, fields, said
):
  config.update(fields)
  with pytest.raises(errors.ConfigError, match=said) as caught:
    _check(config, sharding)
  assert re.search(r"[\d,.]+ GB are available", str(caught.value))


def test_a_batch_beyond_the_data_is_their_number_and_is_said(config, sharding):
  config.batch_size = 10**9
  _check(config, sharding, 10**9)
  status = {
    "devices": 1,
    "device": "cpu",
    "data": {"train": 320, "pixels_seen": [8, 8], "pixels_stored": [8, 8]},
    "corruption": {"changed_fraction": 0.0},
    "parameters": 1,
  }
  said = console.headline("x", status, 10**9, 30, 0)
  assert "30 steps of all examples (config.batch_size=1,000,000,000" in said
  assert "all examples" not in console.headline("x", status, 320, 30, 0)


def test_the_largest_product_is_that_of_the_layers():
  call = models.parse("mlp(widths=(7, 300, 5))")
  assert forward.largest_product(models.build(call, 10, {}), (8, 8, 3)) == 1200
  conv = method_train_test.SmallConvNet(num_classes=2)
  assert forward.largest_product(conv, (8, 8, 1)) == 4 * 4 * 4 * 4


def test_more_steps_than_are_counted_are_refused_with_the_most_epochs():
  assert footprint.steps(10, 7) == 70
  assert footprint.steps((2**31 - 1) // 7, 7) < 2**31
  with pytest.raises(errors.ConfigError, match="at most 306,783,378 epochs"):
    footprint.steps(10**9, 7)


def test_what_a_model_of_ones_own_raises_says_which_and_keeps_its_traceback(
  config, tmp_path, data_dir
):
  config.model = "tests.footprint_test:Broken()"
  with pytest.raises(KeyError) as caught:
    method_train_test._execute(config, tmp_path, data_dir)
  note = "raised when tests.footprint_test:Broken() was initialized"
  assert note in caught.value.__notes__
  frames = [entry.name for entry in caught.traceback]
  assert "__call__" in frames


def test_code_of_a_model_that_ends_the_process_marks_the_run_as_failed(
  config, tmp_path, data_dir, monkeypatch
):
  def leave(*_, **__):
    raise SystemExit(0)

  monkeypatch.setattr(Broken, "__call__", leave)
  config.model = "tests.footprint_test:Broken()"
  with pytest.raises((SystemExit, errors.ConfigError)):
    method_train_test._execute(config, tmp_path, data_dir)
  assert runner.runs.read(tmp_path).status["state"] == "failed"


def test_speed_leaves_compilation_out():
  with speed.Speed() as measured:
    measured.begin()
    jax.jit(lambda x: x + 1)(1.0)
    measured.end(10, 100.0)
    measured.begin()
    measured.end(30, 3.0)
    assert measured.take() == 10.0
    assert measured.take() is None
    measured.begin()
    jax.jit(lambda x: x + 2)(1.0)
    measured.end(10, 100.0)  # there is no other: without the compiler's seconds
    assert 0.1 <= measured.take() < 0.2
    measured.begin()
  jax.jit(lambda x: x + 3)(1.0)
  assert not measured._compiling
