"""`method = "construct(...)"`: built networks on the common run directory."""

import numpy as np
import pytest

from rethink import errors
from rethink.methods import runner
from rethink.storage import runs
from tests.method_train_test import StopAfter


def _execute(config, workdir, data_dir, method, stop=None, **fields):
  with config.unlocked():
    config.method = method
    config.corruptions = ("random_labels()",)
    config.update(fields)
  runner.execute(config, str(workdir), data_dir, stop or StopAfter())
  return runs.read(workdir)


@pytest.mark.parametrize(
  "method", ["construct", "construct(one_hot=True)", "construct(depth=7)"]
)
def test_random_labels_are_fitted_by_a_network_that_is_never_trained(
  method, config, tmp_path, data_dir
):
  record = _execute(config, tmp_path, data_dir, method)
  (row,), status = record.rows, record.status
  assert status["state"] == "done"
  assert row["train/accuracy"] == 1 and row["train/loss"] < 1e-3
  assert row["test/accuracy"] < 0.3
  found = status["certificate"]
  assert found["points"] == 320 and found["wrong_labels"] == 0
  assert found["largest_error"] <= 1e-4
  assert status["parameters"] == found["num_weights"]
  if "depth" not in method:
    outputs = 10 if "one_hot" in method else 1
    assert status["parameters"] == 64 + 320 + 320 * outputs
    assert (status["depth"], status["width"]) == (1, 320)
  else:
    assert status["depth"] == 7 and 46 <= status["width"] <= 50
  with np.load(tmp_path / "network.npz") as arrays:
    norm = np.linalg.norm(np.concatenate([a.ravel() for a in arrays.values()]))
    assert arrays["direction"].shape == (64,)
  np.testing.assert_allclose(norm, status["weight_norm"])
  assert status["lipschitz_bound"] > 0
  curve = runs.read_curve(tmp_path, "function")
  if "one_hot" in method:
    assert not curve
  else:  # kinks are at images, where the function is their label
    assert (np.diff(curve["projection"]) >= 0).all()
    assert len(curve["value"]) == 31 and len(set(curve["value"])) > 1
    np.testing.assert_allclose(
      curve["value"], np.rint(curve["value"]), atol=1e-3
    )


def test_the_seed_draws_the_direction(config, tmp_path, data_dir):
  drawn = []
  for name, seed in (("a", 0), ("b", 0), ("c", 1)):
    _execute(config, tmp_path / name, data_dir, "construct", seed=seed)
    with np.load(tmp_path / name / "network.npz") as arrays:
      drawn.append(arrays["direction"].tobytes())
  assert drawn[0] == drawn[1] != drawn[2]


def test_a_depth_written_otherwise_is_the_same_run(config, tmp_path, data_dir):
  first = _execute(config, tmp_path, data_dir, "construct()")
  text = "construct(one_hot=False, depth=0)"
  second = _execute(config, tmp_path, data_dir, text)
  assert second.config == first.config
  assert second.config["outcome"]["method"] == (
    "construct(depth=0, one_hot=False)"
  )
  with pytest.raises(errors.ConfigError, match="depth=3"):
    _execute(config, tmp_path, data_dir, "construct(depth=3)")


def test_a_stopped_run_starts_over(config, tmp_path, data_dir):
  for looks in range(4):
    with pytest.raises(errors.PreemptedError, match="SIGTERM"):
      _execute(config, tmp_path, data_dir, "construct", StopAfter(looks))
    assert runs.read(tmp_path).status["state"] == "preempted"
  record = _execute(config, tmp_path, data_dir, "construct")
  assert record.status["state"] == "done" and len(record.rows) == 1


@pytest.mark.parametrize(
  ("method", "said"),
  [
    ("built()", "construct, interpolate, train"),
    ("construct(width=3)", "depth, one_hot"),
    ("construct(depth=1000)", "between 1 and 320"),
    ("construct(depth=-1)", "depth must lie in"),
    ("train(depth=3)", "takes: none"),
  ],
)
def test_a_bad_method_is_one_sentence(method, said, config, tmp_path, data_dir):
  with pytest.raises(errors.ConfigError, match=said):
    _execute(config, tmp_path, data_dir, method)


def test_regularizers_of_training_are_refused(config, tmp_path, data_dir):
  with pytest.raises(errors.ConfigError, match=r"config\.regularizers"):
    _execute(
      config, tmp_path, data_dir, "construct", regularizers=("random_flip()",)
    )


def test_equal_images_with_different_labels_are_named(
  config, tmp_path, data_dir
):
  with pytest.raises(errors.DataError, match="are equal, but their values"):
    _execute(config, tmp_path, data_dir, "construct", image_size=1)
