"""The loop as a whole: resuming, stopping, diverging change no bit."""

import json
import pathlib
import shutil

import flax.linen as nn
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from rethink import errors, metric_sums, settings
from rethink.methods import runner, train
from rethink.storage import runs


class SmallConvNet(nn.Module):
  """A user's own model, in a module of their own."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.Conv(4, (3, 3), strides=2, use_bias=False)(images)
    x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    x = nn.relu(x).reshape(len(x), -1)
    return nn.Dense(self.num_classes)(x)


class FiveLogits(nn.Module):
  """A user's mistake."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    return nn.Dense(5)(images.reshape(len(images), -1))


class StopAfter:
  """A stop flag that is set at the n-th look."""

  def __init__(self, looks: float = float("inf")):
    self.looks = looks

  @property
  def name(self):
    self.looks -= 1
    return "SIGTERM" if self.looks < 0 else None


def _execute(config, workdir, data_dir, stop=None):
  return runner.execute(config, str(workdir), data_dir, stop or StopAfter())


def end(workdir):
  """Returns what equal runs share: both states, and rows without times."""
  arrays = {}
  for kind in ("checkpoints", "best"):
    steps = (pathlib.Path(workdir) / kind).glob("*/manifest.json")
    path = max((path.parent for path in steps), key=lambda p: int(p.name))
    with ocp.StandardCheckpointer() as orbax:
      arrays[kind, path.name] = orbax.restore(path)
  rows = [
    {k: v for k, v in row.items() if not k.startswith("time/")}
    for row in runs.read(workdir).rows
  ]
  leaves = jax.tree_util.tree_leaves_with_path(arrays)
  return rows, {str(k): np.asarray(v).tobytes() for k, v in leaves}


@pytest.fixture
def noisy(config):
  """A config that draws from every stream: labels, order, crop, dropout."""
  with config.unlocked():
    config.image_size = 6
    config.corruptions = ("partially_corrupted_labels(0.3)",)
    config.regularizers = ("random_crop()", "dropout(0.2)", "weight_decay()")
    config.ema_decay = 0.9
    config.bookkeeping.chunk_seconds = 1e-9  # one step a chunk
  return config


def test_a_run_leaves_config_status_and_rows(config, tmp_path, data_dir):
  _execute(config, tmp_path, data_dir)
  record = runs.read(tmp_path)
  assert record.status["state"] == "done"
  assert record.status["parameters"] == 8 * 8 * 32 + 32 + 32 * 10 + 10
  assert record.status["data"] == {
    "train": 320,
    "test": 297,
    "skipped": [],
    "pixels_seen": [8, 8],
    "pixels_stored": [8, 8],
  }
  assert [row["epoch"] for row in record.rows] == [1, 2, 3]
  assert [row["step"] for row in record.rows] == [7, 14, 21]
  assert record.rows[-1]["train/loss"] < record.rows[0]["train/loss"]
  assert record.config["outcome"]["optimizer"] == (
    "sgd(momentum=0.9, nesterov=False)"
  )


def test_each_examples_loss_is_logged_at_chosen_epochs(
  noisy, tmp_path, data_dir
):
  noisy.corruptions = ("partially_corrupted_labels(0.5)",)
  noisy.bookkeeping.examples_every_epochs = 2
  _execute(noisy, tmp_path / "whole", data_dir)
  logged = runs.read_examples(tmp_path / "whole")
  assert list(logged) == [2, 3]  # and the last
  rows = runs.read(tmp_path / "whole").rows
  for epoch, row in zip((2, 3), rows[1:], strict=True):
    found = logged[epoch]
    assert len(found["id"]) == 320 and (np.diff(found["id"]) > 0).all()
    assert found["correct"].mean() == pytest.approx(row["train/accuracy"])
    assert found["loss"].mean() == pytest.approx(row["train/loss"], rel=1e-5)
    changed = found["label"] != found["true_label"]
    assert 0.3 < changed.mean() < 0.6
  with pytest.raises(errors.PreemptedError):
    _execute(noisy, tmp_path / "broken", data_dir, StopAfter(16))
  _execute(noisy, tmp_path / "broken", data_dir)
  again = runs.read_examples(tmp_path / "broken")
  for epoch, arrays in logged.items():
    for name, array in arrays.items():
      np.testing.assert_array_equal(array, again[epoch][name])


def test_chunk_length_changes_no_bit(noisy, tmp_path, data_dir):
  _execute(noisy, tmp_path / "short", data_dir)
  noisy.bookkeeping.chunk_seconds = 100.0
  _execute(noisy, tmp_path / "long", data_dir)
  assert end(tmp_path / "short") == end(tmp_path / "long")


def test_a_convolutional_model_has_no_chunk_dependence(
  config, tmp_path, data_dir
):
  config.model = "tests.method_train_test:SmallConvNet()"
  for seconds in (1e-9, 100.0):
    config.bookkeeping.chunk_seconds = seconds
    _execute(config, tmp_path / str(seconds), data_dir)
  assert end(tmp_path / "1e-09") == end(tmp_path / "100.0")


_KINDS = {
  "mlp": {},
  "convolutions, batch norm": dict(
    model="tests.method_train_test:SmallConvNet()",
    regularizers=("random_crop()", "random_flip()"),
  ),
  "adam, cosine, bfloat16": dict(
    optimizer="adam()",
    schedule="cosine(warmup_epochs=1)",
    dtype="bfloat16",
    learning_rate=0.001,
  ),
  "rare evaluation": dict(eval_every_epochs=2),
}


@pytest.mark.parametrize("kind", _KINDS)
def test_stopping_anywhere_and_resuming_changes_no_bit(
  noisy, tmp_path, data_dir, kind
):
  noisy.update(_KINDS[kind])
  noisy.bookkeeping.checkpoint_every_epochs = 1
  _execute(noisy, tmp_path / "whole", data_dir)
  whole = end(tmp_path / "whole")
  # 21 steps and 2 x 2 or more evaluation chunks: 25 looks or more at the flag.
  for looks in (0, 5, 8, 16, 23):
    workdir = tmp_path / str(looks)
    with pytest.raises(errors.PreemptedError, match="run the same command"):
      _execute(noisy, workdir, data_dir, StopAfter(looks))
    assert runs.read(workdir).status["state"] == "preempted"
    _execute(noisy, workdir, data_dir)
    assert end(workdir) == whole, looks


def test_a_run_stopped_at_every_step_ends_equal(noisy, tmp_path, data_dir):
  _execute(noisy, tmp_path / "whole", data_dir)
  workdir = tmp_path / "pieces"
  for _ in range(60):
    try:
      _execute(noisy, workdir, data_dir, StopAfter(3))
      break
    except errors.PreemptedError:
      pass
  assert runs.read(workdir).status["state"] == "done"
  assert end(workdir) == end(tmp_path / "whole")


def test_rows_past_the_saved_state_are_made_again(noisy, tmp_path, data_dir):
  _execute(noisy, tmp_path / "whole", data_dir)
  workdir = tmp_path / "killed"
  with pytest.raises(errors.PreemptedError):
    _execute(noisy, workdir, data_dir, StopAfter(12))
  kept = runs.read(workdir).rows
  with open(workdir / "metrics.jsonl", "a") as f:
    f.write(json.dumps({**kept[-1], "step": 14, "train/loss": 99.0}) + "\n")
    f.write('{"step": 21, "tra')
  _execute(noisy, workdir, data_dir)
  assert end(workdir) == end(tmp_path / "whole")


def test_lost_rows_cost_the_states_that_need_them(
  noisy, tmp_path, data_dir, capsys
):
  _execute(noisy, tmp_path / "whole", data_dir)
  noisy.bookkeeping.checkpoint_every_epochs = 1
  with pytest.raises(errors.PreemptedError):
    _execute(noisy, tmp_path / "run", data_dir, StopAfter(22))
  rows = tmp_path / "run/metrics.jsonl"
  lines = rows.read_text().splitlines(keepends=True)
  assert len(lines) == 2  # of the steps 7 and 14; states of 14 and later
  folders = (tmp_path / "run/checkpoints").iterdir()
  steps = sorted(int(p.name) for p in folders)
  assert steps[0] == 14 < steps[1]
  shutil.copytree(tmp_path / "run", tmp_path / "lost")
  rows.write_text(lines[0])  # that of step 14 is gone
  _execute(noisy, tmp_path / "run", data_dir)
  said = capsys.readouterr()
  assert "lacks 1 rows: those of steps 14; set aside as" in said.err
  assert "resuming at step 14" in said.out
  assert end(tmp_path / "run") == end(tmp_path / "whole")
  # Without the first row no state is left that has all of its rows.
  (tmp_path / "lost/metrics.jsonl").write_text(lines[1])
  for _ in range(2):
    with pytest.raises(errors.CheckpointError, match="those of steps 7\n"):
      _execute(noisy, tmp_path / "lost", data_dir)
  assert (tmp_path / "lost/metrics.jsonl").read_text() == lines[1]
  # A run that is done has lost its result, not only the way to it.
  (tmp_path / "run/metrics.jsonl").unlink()
  with pytest.raises(errors.ConfigError, match="ends at step none"):
    _execute(noisy, tmp_path / "run", data_dir)


def test_a_kill_while_data_are_loaded_costs_no_row(noisy, tmp_path, data_dir):
  with pytest.raises(errors.PreemptedError):
    _execute(noisy, tmp_path, data_dir, StopAfter(12))
  (tmp_path / "status.json").unlink()
  before = (tmp_path / "metrics.jsonl").read_text()
  known = settings.resolve(noisy)
  outcome = {**known.outcome, "method": "train"}
  runs.Run(tmp_path, outcome, known.bookkeeping).start()
  assert (tmp_path / "metrics.jsonl").read_text() == before


def test_a_stop_before_the_first_step_saves_nothing(config, tmp_path, data_dir):
  with pytest.raises(errors.PreemptedError):
    _execute(config, tmp_path, data_dir, StopAfter(0))
  assert not list((tmp_path / "checkpoints").iterdir())


def test_a_done_run_is_not_run_again(config, tmp_path, data_dir, capsys):
  _execute(config, tmp_path, data_dir)
  before = (tmp_path / "status.json").read_text()
  _execute(config, tmp_path, data_dir)
  assert "is done already" in capsys.readouterr().out
  assert (tmp_path / "status.json").read_text() == before


def test_a_run_stops_early_by_its_rule_and_stays_stopped(
  config, tmp_path, data_dir
):
  config.num_epochs = 50
  config.stop_at_train_loss = 0.5
  _execute(config, tmp_path, data_dir)
  rows = runs.read(tmp_path).rows
  assert rows[-1]["train/loss"] <= 0.5 < rows[-2]["train/loss"]
  assert len(rows) < 50
  (tmp_path / "status.json").unlink()  # as if killed before the last line
  _execute(config, tmp_path, data_dir)
  assert runs.read(tmp_path).rows == rows


def test_a_loss_that_is_not_finite_is_never_saved(config, tmp_path, data_dir):
  config.learning_rate = 1e30
  with pytest.raises(errors.DivergedError, match=r"step \d+ .*rate 1e\+30"):
    _execute(config, tmp_path, data_dir)
  assert runs.read(tmp_path).status["state"] == "diverged"
  assert runs.read(tmp_path).status["diverged_learning_rate"] > 1e29
  for folder in ("checkpoints", "best"):
    assert not list((tmp_path / folder).iterdir())


def test_a_state_that_will_diverge_is_not_saved_either(
  config, tmp_path, data_dir, monkeypatch
):
  trainers = []
  monkeypatch.setattr(
    train.Trainer, "_epoch", lambda self: trainers.append(self) or _poison(self)
  )
  with pytest.raises(errors.DivergedError):
    _execute(config, tmp_path, data_dir)
  assert trainers
  assert not list((tmp_path / "checkpoints").iterdir())


def _poison(trainer):
  # Parameters that a step has just made infinite; the loss was still finite.
  params = jax.tree.map(lambda x: x * np.inf, trainer.state.params)
  trainer.state = trainer.state.replace(params=params)
  trainer.step = 5
  trainer._save()


def test_another_config_is_refused_and_nothing_lost(noisy, tmp_path, data_dir):
  with pytest.raises(errors.PreemptedError):
    _execute(noisy, tmp_path, data_dir, StopAfter(12))
  rows = runs.read(tmp_path).rows
  noisy.batch_size = 64
  with pytest.raises(errors.ConfigError, match="batch_size: 50 -> 64"):
    _execute(noisy, tmp_path, data_dir)
  assert runs.read(tmp_path).rows == rows
  noisy.batch_size = 50
  noisy.bookkeeping.checkpoint_every_seconds = 1e-9
  _execute(noisy, tmp_path, data_dir)


def test_the_newest_state_is_kept_beside_the_best(config, tmp_path, data_dir):
  config.num_epochs = 6
  config.bookkeeping.checkpoint_every_epochs = 1
  config.bookkeeping.best_metric = "train/loss"
  _execute(config, tmp_path, data_dir)
  newest = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
  assert newest == [35, 42]
  best = min(runs.read(tmp_path).rows, key=lambda row: row["train/loss"])
  assert [p.name for p in (tmp_path / "best").iterdir()] == [str(best["step"])]


def test_evaluation_may_be_rarer_than_epochs(config, tmp_path, data_dir):
  config.num_epochs = 5
  config.eval_every_epochs = 2
  _execute(config, tmp_path, data_dir)
  assert [row["epoch"] for row in runs.read(tmp_path).rows] == [2, 4, 5]


def test_runs_of_one_architecture_share_their_programs(
  config, tmp_path, data_dir
):
  from rethink import evaluate, train_step

  _execute(config, tmp_path / "a", data_dir)
  before = (
    train_step.compile_train_steps.cache_info(),
    evaluate.compile_eval_steps.cache_info(),
  )
  config.learning_rate = 0.01
  config.seed = 5
  config.corruptions = ("random_labels()",)
  config.schedule = "exponential(decay=0.5)"
  config.num_epochs = 2
  _execute(config, tmp_path / "b", data_dir)
  after = (
    train_step.compile_train_steps.cache_info(),
    evaluate.compile_eval_steps.cache_info(),
  )
  assert [a.misses for a in after] == [b.misses for b in before]


def test_zero_never_stops_early(config, tmp_path, data_dir, monkeypatch):
  exact = metric_sums.train_means

  def fitted(*args):
    return {**exact(*args), "train/loss": 0.0}

  monkeypatch.setattr(metric_sums, "train_means", fitted)
  _execute(config, tmp_path, data_dir)
  assert len(runs.read(tmp_path).rows) == 3


def test_clean_passes_evaluate_the_averages(config, tmp_path, data_dir):
  rows, norms = {}, {}
  for decay in (0.0, 1e-30, 0.95):
    config.ema_decay = decay
    _execute(config, tmp_path / str(decay), data_dir)
    rows[decay], _ = end(tmp_path / str(decay))
    norms[decay] = runs.read(tmp_path / str(decay)).status["weight_norm"]
  assert rows[1e-30] == rows[0.0]  # of the last step only
  assert norms[1e-30] == norms[0.0] != norms[0.95]
  for one, other in zip(rows[0.95], rows[0.0], strict=True):
    assert one["batch/loss"] == other["batch/loss"]
    assert one["train/loss"] != other["train/loss"]
    assert one["test/loss"] != other["test/loss"]


def test_an_old_best_does_not_outlive_its_run(config, tmp_path, data_dir):
  config.eval_every_epochs = 3
  other = config.copy_and_resolve_references()
  other.seed = 7
  _execute(other, tmp_path / "fresh", data_dir)
  _execute(config, tmp_path / "used", data_dir)
  # As if killed after the best, before any newest state was saved.
  for left in ("checkpoints", "status.json", "metrics.jsonl"):
    path = tmp_path / "used" / left
    shutil.rmtree(path) if path.is_dir() else path.unlink()
  _execute(other, tmp_path / "used", data_dir)
  assert end(tmp_path / "used") == end(tmp_path / "fresh")


def test_a_done_run_holds_its_directory_without_its_states(
  config, tmp_path, data_dir
):
  _execute(config, tmp_path, data_dir)
  shutil.rmtree(tmp_path / "checkpoints")
  config.seed = 9
  with pytest.raises(errors.ConfigError, match="seed: 0 -> 9"):
    _execute(config, tmp_path, data_dir)


def test_the_environment_does_not_change_what_a_seed_draws(
  config, tmp_path, data_dir
):
  _execute(config, tmp_path / "a", data_dir)
  old = jax.config.jax_threefry_partitionable, jax.config.jax_default_prng_impl
  try:
    jax.config.update("jax_threefry_partitionable", False)
    jax.config.update("jax_default_prng_impl", "rbg")
    _execute(config, tmp_path / "b", data_dir)
  finally:
    jax.config.update("jax_threefry_partitionable", old[0])
    jax.config.update("jax_default_prng_impl", old[1])
  assert end(tmp_path / "a") == end(tmp_path / "b")


def test_a_model_with_the_wrong_number_of_logits_is_named(
  config, tmp_path, data_dir
):
  config.model = "tests.method_train_test:FiveLogits()"
  with pytest.raises(errors.ConfigError, match=r"\(5,\) logits .* 10 classes"):
    _execute(config, tmp_path, data_dir)


def test_settings_name_the_field_that_is_wrong(config):
  for field, value in {
    "batch_size": 0,
    "num_epochs": -1,
    "data_seed": -1,
    "ema_decay": 1.0,
    "dtype": "float16",
    "seed": 2**32,
    "bookkeeping.checkpoints_to_keep": 0,
    "bookkeeping.checkpoint_every_epochs": 0,
    "bookkeeping.best_metric": "test/acc",
    "model": "no_such_model()",
    "regularizers": ("no_such_regularizer()",),
    "corruptions": "random_labels()",
  }.items():
    wrong = config.copy_and_resolve_references()
    with wrong.ignore_type():
      wrong.update_from_flattened_dict({field: value})
    with pytest.raises(errors.ConfigError, match=f"config.{field}"):
      settings.resolve(wrong)
