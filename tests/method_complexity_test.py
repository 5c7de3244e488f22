"""`method = "complexity(...)"` on the common run directory."""

import numpy as np
import pytest

from rethink import console, errors
from rethink.expressivity import rademacher
from rethink.methods import runner
from rethink.pipeline import datasets
from rethink.storage import runs
from tests.method_train_test import StopAfter


def _execute(config, workdir, data_dir, method, stop=None, **fields):
  with config.unlocked():
    config.method = method
    config.update(fields)
  runner.execute(config, str(workdir), data_dir, stop or StopAfter())
  return runs.read(workdir)


def test_a_run_has_a_row_with_an_interval(config, tmp_path, data_dir):
  record = _execute(
    config, tmp_path, data_dir, "complexity('linear()', draws=4)"
  )
  (row,), status = record.rows, record.status
  assert status["state"] == "done" and status["parameters"] == 65
  found = np.array(status["correlations"])
  assert found.shape == (4,) and (found > 0.1).all() and (found < 0.9).all()
  assert row["correlation"] == pytest.approx(found.mean())
  assert row["correlation_low"] < row["correlation"] < row["correlation_high"]
  assert "| 320 " in console.results_table([("linear", tmp_path)])


def test_the_learner_is_what_was_asked_for(config, tmp_path, data_dir):
  method = "complexity('construction(depth=3)', draws=2)"
  record = _execute(config, tmp_path, data_dir, method)
  assert record.rows[0]["correlation"] == pytest.approx(1, abs=1e-4)
  method = "complexity('ball(norm=0.1)', draws=2)"
  record = _execute(config, tmp_path / "ball", data_dir, method)
  assert record.rows[0]["correlation"] < 0.02


def test_the_seed_draws_the_signs_of_each_image(config, tmp_path, data_dir):
  """Against the estimator of the library, on the subset that a run takes."""
  record = _execute(
    config, tmp_path, data_dir, "complexity('linear()')", seed=3
  )
  split = datasets.load("digits", data_dir).splits["train"]
  train = datasets.subset(split, 320, 0, 10, balanced=False)
  images = train.image.reshape(320, -1) / 255
  points = images - images.mean(1, keepdims=True)
  points /= np.maximum(images.std(1, keepdims=True), 1 / 8)
  features = np.c_[points, np.ones(320)]

  def learner(signs):
    weights = np.linalg.lstsq(features, signs.T, rcond=1e-6)[0]
    return np.sign(features @ weights).T

  signs = rademacher.signs(train.id, draws=10, seed=3)
  found = rademacher.estimate(signs, learner(signs))
  assert record.rows[0]["correlation"] == pytest.approx(found.mean, abs=0.005)


@pytest.mark.parametrize(
  ("method", "said"),
  [
    ("complexity('forest()')", "there is no 'forest'; there are: ball"),
    ("complexity('ball(norm=True)')", "norm must be float"),
    ("complexity('linear()', draws=1)", "draws must lie in \\[2, 1000000\\]"),
  ],
)
def test_a_bad_learner_is_one_sentence(
  method, said, config, tmp_path, data_dir
):
  with pytest.raises(errors.ConfigError, match=said):
    _execute(config, tmp_path, data_dir, method)


def test_a_stopped_run_starts_over(config, tmp_path, data_dir):
  method = "complexity('network()', draws=2)"
  for looks in (0, 3):
    with pytest.raises(errors.PreemptedError, match="SIGTERM"):
      _execute(config, tmp_path, data_dir, method, StopAfter(looks))
    assert runs.read(tmp_path).status["state"] == "preempted"
  record = _execute(config, tmp_path, data_dir, method)
  assert record.status["state"] == "done" and len(record.rows) == 1
