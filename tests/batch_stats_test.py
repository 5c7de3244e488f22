"""Batch norm's statistics: the lag is reported, re-estimation cures it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rethink import compiled, errors, schedules, settings, train_step
from rethink.methods import batch_stats, runner
from rethink.pipeline import preprocess, resident
from rethink.storage import runs
from tests import conftest
from tests.method_train_test import StopAfter, end

HERE = "tests.batch_stats_test"


class Lagging(nn.Module):
  """Batch norm as Flax makes it by default, on features that move a lot."""

  num_classes: int
  momentum: float = 0.99

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.Dense(32)(images.reshape(len(images), -1))
    x = nn.BatchNorm(use_running_average=not train, momentum=self.momentum)(x)
    return nn.Dense(self.num_classes)(nn.relu(x))


class Spectral(nn.Module):
  """Keeps statistics, but none of batch norm."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    x = images.reshape(len(images), -1)
    dense = nn.SpectralNorm(nn.Dense(self.num_classes))
    return dense(x, update_stats=train)


class Everything(nnx.Module):
  """An NNX network with a list of layers, batch norm, dropout and noise."""

  def __init__(self, num_classes, image_shape, rngs):
    size = int(np.prod(image_shape))
    self.layers = nnx.List([nnx.Linear(size, 16, rngs=rngs)])
    self.norm = nnx.BatchNorm(16, momentum=0.9, rngs=rngs)
    self.dropout = nnx.Dropout(0.2, rngs=rngs)
    self.head = nnx.Linear(16, num_classes, rngs=rngs)
    self.rngs = rngs

  def __call__(self, images, train):
    x = self.norm(self.layers[0](images.reshape(len(images), -1)))
    if train:
      x = x + 0.1 * jax.random.normal(self.rngs.noise(), x.shape)
    return self.head(self.dropout(nnx.relu(x)))


def _execute(config, workdir, data_dir, looks=float("inf")):
  runner.execute(config, str(workdir), data_dir, StopAfter(looks))
  return runs.read(workdir)


@pytest.fixture
def lagging(config):
  with config.unlocked():
    config.model = f"{HERE}:Lagging()"
    config.num_epochs = 6
    config.eval_every_epochs = 3
  return config


def test_lagging_statistics_are_reported_and_cured(
  lagging, tmp_path, data_dir, capsys
):
  record = _execute(lagging, tmp_path / "lagging", data_dir)
  found = record.status["batch_norm_lag"]
  row = record.rows[-1]
  assert found["running"] == row["train/accuracy"]
  assert found["reestimated"] > found["running"] + batch_stats.MARGIN
  said = capsys.readouterr().out
  assert said.count("running statistics lag") == 1
  assert "config.reestimate_batch_stats" in said
  assert "reestimate_batch_stats" not in record.config["outcome"]

  lagging.reestimate_batch_stats = 320
  cured = _execute(lagging, tmp_path / "cured", data_dir)
  assert "batch_norm_lag" not in cured.status
  assert cured.config["outcome"]["reestimate_batch_stats"] == 320
  assert cured.rows[-1]["train/accuracy"] == pytest.approx(
    found["reestimated"], abs=0.011
  )
  # What training mode says, of parameters that changed within the epoch.
  assert cured.rows[-1]["train/accuracy"] == pytest.approx(
    row["batch/accuracy"], abs=0.02
  )
  # Training goes on with its running averages: not a bit of it changes.
  assert cured.rows[-1]["batch/loss"] == row["batch/loss"]
  states = [end(tmp_path / name)[1] for name in ("lagging", "cured")]
  newest = [
    {k: v for k, v in s.items() if "'checkpoints'" in k} for s in states
  ]
  assert newest[0] == newest[1] and newest[0]


def test_short_memory_does_not_lag(lagging, tmp_path, data_dir, capsys):
  lagging.model = f"{HERE}:Lagging(momentum=0.5)"
  lagging.num_epochs = 3
  record = _execute(lagging, tmp_path, data_dir)
  assert "batch_norm_lag" not in record.status
  assert "running statistics" not in capsys.readouterr().out


@pytest.mark.parametrize("pipeline", ["resident", "stream"])
def test_an_nnx_run_stopped_anywhere_ends_equal(
  config, tmp_path, data_dir, pipeline
):
  with config.unlocked():
    config.update(
      model=f"{HERE}:Everything()",
      pipeline=pipeline,
      ema_decay=0.9,
      regularizers=("weight_decay()",),
      reestimate_batch_stats=100,
      num_epochs=2,
    )
    config.bookkeeping.chunk_seconds = 1e-9
    config.bookkeeping.checkpoint_every_epochs = 1
  record = _execute(config, tmp_path / "whole", data_dir)
  assert record.rows[-1]["train/loss"] < record.rows[0]["train/loss"]
  whole = end(tmp_path / "whole")
  names = "".join(whole[1])
  assert "head" in names and "rngs" not in names and "dropout" not in names
  with pytest.raises(errors.PreemptedError):
    _execute(config, tmp_path / "broken", data_dir, looks=4)
  _execute(config, tmp_path / "broken", data_dir)
  assert end(tmp_path / "broken") == whole


def test_statistics_other_than_batch_norms_are_refused(
  config, tmp_path, data_dir
):
  with config.unlocked():
    config.model = f"{HERE}:Spectral()"
    config.reestimate_batch_stats = 50
    config.num_epochs = 1
  with pytest.raises(errors.ConfigError, match="other statistics only"):
    _execute(config, tmp_path, data_dir)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_reestimated_statistics_are_numpys_means_over_batches(
  config, ema_decay
):
  with config.unlocked():
    config.model = f"{HERE}:Lagging()"
    config.ema_decay = ema_decay
  replicated, sharded = resident.shardings()
  run = settings.resolve(config)
  static = compiled.static_arguments(run, 10, sharded)
  length = schedules.Length(jnp.int32(7), jnp.int32(21))
  key = jax.random.key(0)
  traced = compiled.traced_arguments(run, length, key)
  state = train_step.compile_initializer(static, 1, replicated)(traced, key)
  examples = conftest.random_examples(7, (8, 8, 1))
  data = resident.put(examples, replicated)
  batches = batch_stats.first_batches(data, 2, 3, sharded)
  found = batch_stats.reestimate(static, key, state, batches, lambda: None)
  images = preprocess.on_host(examples.image, 8, 7).reshape(7, -1)
  dense = jax.device_get(state.params["Dense_0"])
  hidden = np.float64(images) @ dense["kernel"] + dense["bias"]
  parts = hidden[:6].reshape(2, 3, -1)
  stats = jax.device_get(found.evaluated[1]["BatchNorm_0"])
  np.testing.assert_allclose(stats["mean"], parts.mean((0, 1)), atol=1e-5)
  np.testing.assert_allclose(stats["var"], parts.var(1).mean(0), rtol=1e-4)
  # Nothing but the evaluated statistics has been replaced.
  assert found.params is state.params and found.opt_state is state.opt_state
  assert (found.batch_stats is state.batch_stats) == (ema_decay > 0)


def test_less_than_a_batch_is_refused(config, tmp_path, data_dir):
  config.reestimate_batch_stats = 49
  with pytest.raises(errors.ConfigError, match="at least one batch"):
    _execute(config, tmp_path, data_dir)


@pytest.mark.parametrize(
  ("examples", "n", "batch_size", "want"),
  [
    (100, 320, 50, (2, 50)),
    (149, 320, 50, (2, 50)),
    (1000, 320, 50, (6, 50)),
    (1000, 30, 50, (1, 30)),
  ],
)
def test_batches_are_whole(examples, n, batch_size, want):
  assert batch_stats.whole_batches(examples, n, batch_size) == want
