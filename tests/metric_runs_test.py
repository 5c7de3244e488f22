"""Runs with further metrics: their rows, best states and report columns."""

import jax.numpy as jnp
import numpy as np
import pytest

from rethink import errors, experiments, signals
from rethink.methods import runner
from rethink.report import results, sources
from rethink.storage import runs


def label_rank(logits, labels, start: int = 0):
  """Returns the number of classes that are likelier than the label."""
  own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
  return jnp.sum(logits > own, axis=-1).astype(jnp.float32) + start


label_rank.lower_is_better = True  # pyright: ignore[reportFunctionMemberAccess]


def not_finite(logits, labels):
  return jnp.where(labels == 3, jnp.nan, logits[:, 0])


def _execute(config, workdir, data_dir):
  return runner.execute(config, workdir, data_dir, signals.StopFlag())


def test_a_users_metric_is_in_rows_chooses_the_best_and_is_reported(
  config, tmp_path, data_dir
):
  config.metrics = (f"{__name__}:label_rank(start=1)", "margin()")
  config.bookkeeping.best_metric = key = "test/label_rank_start_1"
  workdir = tmp_path / "mine/mlp/seed0"
  _execute(config, workdir, data_dir)
  rows = runs.read(workdir).rows
  for row in rows:
    # Labels are true: either label has the same mean.
    assert row["train/true_margin"] == row["train/margin"] != 0
    assert row["test/corrupted_margin"] == row["test/margin"] != 0
    misses = 1 - row["test/accuracy"]
    assert 1 + misses - 1e-6 <= row[key] <= 1 + 9 * misses + 1e-6
  best = [int(path.name) for path in (workdir / "best").iterdir()]
  assert best == [rows[int(np.argmin([row[key] for row in rows]))]["step"]]

  column = experiments.Column("rank", "rank", metric=key, unit="")
  row = experiments.Row(("mlp",), "mlp")
  table = experiments.Table("table", "Table", ("model",), (column,), (row,))
  source = sources.Source(
    stem="mine",
    smoke=False,
    report=experiments.Report("Mine", "", "?", (table,)),
    runs=("mlp/seed0",),
    get_config=lambda run: config,
  )
  cell = results.Results(source, tmp_path).cell(row, column)
  assert cell.values == (rows[-1][key],)


def test_metrics_change_rows_and_nothing_that_is_trained(
  config, tmp_path, data_dir
):
  _execute(config, tmp_path / "plain", data_dir)
  config.metrics = ("margin()",)
  _execute(config, tmp_path / "more", data_dir)
  plain, more = (
    runs.read(tmp_path / name).status["weight_norm"]
    for name in ("plain", "more")
  )
  assert plain == more
  with pytest.raises(errors.ConfigError, match="holds a run of another config"):
    _execute(config, tmp_path / "plain", data_dir)


def test_a_metric_that_is_not_finite_is_named(config, tmp_path, data_dir):
  config.metrics = (f"{__name__}:not_finite()",)
  said = rf"{__name__}:not_finite\(\) is not finite for some example: train/not"
  with pytest.raises(errors.ConfigError, match=said):
    _execute(config, tmp_path, data_dir)
  assert "diverged_step" not in runs.read(tmp_path).status


def test_random_signs_have_no_further_metrics(config, tmp_path, data_dir):
  config.method, config.metrics = "complexity()", ("margin()",)
  with pytest.raises(errors.ConfigError, match=r"config\.metrics must be \(\)"):
    _execute(config, tmp_path, data_dir)
