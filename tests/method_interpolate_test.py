import json

import numpy as np
import pytest

from configs import kernels
from rethink import console, errors, signals
from rethink.methods import interpolate, runner
from rethink.pipeline import run_data
from rethink.storage import runs


@pytest.fixture
def config():
  config = kernels.get_config()
  config.train_examples = 300
  config.lock()
  return config


def _execute(config, workdir, data_dir, stop=None):
  stop = stop or signals.StopFlag()
  return runner.execute(config, str(workdir), data_dir, stop)


def test_a_run_fits_random_labels_and_says_so(config, tmp_path, data_dir):
  config.corruptions = ("random_labels()",)
  _execute(config, tmp_path, data_dir)
  record = runs.read(tmp_path)
  (row,) = record.rows
  assert row["train/accuracy"] == 1.0
  assert row["train/squared_error"] < 1e-15
  assert row["train/true_accuracy"] < 0.3 and row["test/accuracy"] < 0.4
  assert row["residual"] <= config.tolerance
  status = record.status
  assert status["state"] == "done" and status["parameters"] == 3000
  assert status["corruption"]["changed_fraction"] > 0.8
  assert status["interpolation"]["norm"] == row["norm"]
  assert "gaussian(bandwidth=0.0)" not in json.dumps(status["interpolation"])
  assert "100.00%" in console.results_table([("name", tmp_path)])


def test_random_labels_cost_more_norm_than_true_ones(
  config, tmp_path, data_dir
):
  norms = []
  for p in (0.0, 0.5, 1.0):
    config.corruptions = (f"partially_corrupted_labels({p})",)
    run = _execute(config, tmp_path / str(p), data_dir)
    norms.append(run.rows[-1]["norm"])
  assert norms == sorted(norms) and norms[2] > 1.5 * norms[0]


def test_held_out_examples_are_tested_on_and_not_learned(
  config, tmp_path, data_dir
):
  whole = run_data.load(runner.resolve(config)[2], data_dir).train
  config.held_out = 100
  run = _execute(config, tmp_path, data_dir)
  status = run.status
  assert status["data"]["train"] == 200 and status["data"]["test"] == 100
  held = interpolate._hold_out(
    run_data.load(runner.resolve(config)[2], data_dir), 100
  )
  np.testing.assert_array_equal(
    np.sort(np.concatenate([held.train.id, held.test.id])), whole.id
  )
  assert run.rows[-1]["train/accuracy"] == 1.0
  assert 0.8 < run.rows[-1]["test/accuracy"] < 1.0
  config.held_out = 300
  with pytest.raises(errors.ConfigError, match="leaves none of 300"):
    _execute(config, tmp_path / "all", data_dir)


def test_a_run_says_what_it_took_and_saves_its_curves(
  config, tmp_path, data_dir
):
  config.bookkeeping.spectrum_points = 100
  run = _execute(config, tmp_path / "kernel", data_dir)
  found = run.status["interpolation"]
  assert 0.05 < found["peak_gb"] < 50
  assert found["norms"]["total"] == pytest.approx(run.rows[-1]["norm"])
  assert {f"time/{x}_seconds" for x in ("gram", "factor", "predict")} <= set(
    run.rows[-1]
  )
  curve = runs.read_curve(tmp_path / "kernel", "spectrum")
  assert len(curve["rank"]) == 100 and (np.diff(curve["value"]) <= 0).all()
  config.kernel, config.train_examples = "linear()", 30
  config.interpolant = "sgd(epochs=3)"
  run = _execute(config, tmp_path / "sgd", data_dir)
  assert run.status["interpolation"]["hessian_zeros"] == 34
  assert len(runs.read_curve(tmp_path / "sgd", "sgd")["step"]) == 4


def test_a_run_equals_the_pseudo_inverse_on_what_it_loads(
  config, tmp_path, data_dir
):
  config.kernel = "gaussian(bandwidth=1.0)"
  run = _execute(config, tmp_path, data_dir)
  loaded = run_data.load(runner.resolve(config)[2], data_dir)
  x, z = (
    s.image.reshape(len(s.image), -1) / 255 for s in (loaded.train, loaded.test)
  )

  def kernel(a, b):
    return np.exp(-np.sum((a[:, None] - b[None]) ** 2, -1) / 2)

  y = np.eye(10)[loaded.train.label]
  outputs = kernel(z, x) @ np.linalg.pinv(kernel(x, x)) @ y
  row = run.rows[-1]
  accuracy = np.mean(outputs.argmax(1) == loaded.test.true_label)
  assert row["test/accuracy"] == accuracy
  squares = np.sum((outputs - np.eye(10)[loaded.test.true_label]) ** 2, 1)
  assert row["test/squared_error"] == pytest.approx(squares.mean(), rel=1e-4)


def test_a_done_run_is_skipped_and_another_config_refused(
  config, tmp_path, data_dir, capsys
):
  _execute(config, tmp_path, data_dir)
  _execute(config, tmp_path, data_dir)
  assert "is done already" in capsys.readouterr().out
  config.ridge = 1.0
  with pytest.raises(errors.ConfigError, match=r"ridge: 0.0 -> 1.0"):
    _execute(config, tmp_path, data_dir)


def test_a_run_asked_to_stop_says_that_nothing_is_saved(
  config, tmp_path, data_dir
):
  stop = signals.StopFlag()
  stop.name = "SIGTERM"
  with pytest.raises(errors.PreemptedError, match="starts it over"):
    _execute(config, tmp_path, data_dir, stop)
  assert runs.read(tmp_path).status["state"] == "preempted"
  run = _execute(config, tmp_path, data_dir)
  assert len(run.rows) == 1 and run.done


def test_memory_that_does_not_suffice_ends_in_one_sentence(
  config, tmp_path, data_dir, monkeypatch
):
  from rethink.kernels import memory

  monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000)
  with pytest.raises(errors.ConfigError, match=r"enough for [0-9]+ points"):
    _execute(config, tmp_path, data_dir)
  assert runs.read(tmp_path).status["state"] == "failed"


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("kernel", "rbf()", r"config\.kernel: there is no 'rbf'"),
    ("features", ("hog()",), r"config\.features: there is no 'hog'"),
    ("interpolant", "ridge()", r"config\.interpolant: there is no 'ridge'"),
    ("held_out", -1, r"config\.held_out must be 0 or more"),
    ("preconditioner", "lu()", r"config\.preconditioner: there is no 'lu'"),
    ("ridge", -1.0, r"config\.ridge must be 0 or more"),
    ("tolerance", 0.0, r"config\.tolerance must be above 0"),
    ("method", "guess", r"config\.method: there is no 'guess'.*interpolate"),
  ],
)
def test_a_wrong_field_is_named(field, value, message, config, tmp_path):
  config[field] = value
  with pytest.raises(errors.ConfigError, match=message):
    _execute(config, tmp_path, "unused")
