"""A run directory of an older version is read, reported and resumed."""

import json
import shutil

import numpy as np
import pytest

from rethink import console
from rethink.methods import runner
from rethink.storage import fingerprints
from tests.conftest import ROOT, python

OLD = ROOT / "tests/data/run_2445fbb"
FIELDS = {
  "model": "mlp(widths=(8,))",
  "train_examples": 200,
  "batch_size": 40,
  "num_epochs": 12,
  "learning_rate": 0.01,
  "corruptions": ("partially_corrupted_labels(0.5)",),
  "regularizers": ("weight_decay(0.0005)", "random_flip()"),
  "ema_decay": 0.9,
  "image_size": 8,
  "bookkeeping.tensorboard": False,
  "bookkeeping.checkpoint_every_epochs": 4,
  "bookkeeping.chunk_seconds": 0.001,
}


@pytest.fixture
def old_config():
  """Today's config of the command that made the old run."""
  from configs import base

  config = base.get_config()
  config.update_from_flattened_dict(FIELDS)
  config.lock()
  return config


def _rows(folder) -> list[dict]:
  lines = (folder / "metrics.jsonl").read_text().splitlines()
  return [
    {k: v for k, v in json.loads(line).items() if not k.startswith("time/")}
    for line in lines
  ]


def test_the_fingerprint_of_an_old_run_has_not_changed(old_config):
  settings = runner.resolve(old_config)[2]
  known = json.loads((OLD / "done/config.json").read_text())
  assert fingerprints.fingerprint(settings.outcome) == known["fingerprint"]


def test_a_field_that_an_old_run_lacks_is_refused_with_its_old_value(
  old_config, tmp_path, data_dir
):
  shutil.copytree(OLD / "preempted", tmp_path / "run")
  old_config.loss = "squared_error()"
  assert runner.outlook(old_config, tmp_path / "run") == runner.REFUSED


def test_an_old_run_stands_in_the_table():
  table = console.results_table([("old", OLD / "done")])
  assert "| 610 " in table and "17.50%" in table and "15.49%" in table


def test_an_old_run_is_resumed_to_the_bits_of_its_version(tmp_path, data_dir):
  shutil.copytree(OLD / "preempted", tmp_path / "resumed")
  for name in ("resumed", "anew"):
    # One device, as the old run had.
    done = python(
      *("-m", "rethink.main", "--config=configs/base.py"),
      *(f"--config.{field}={value}" for field, value in FIELDS.items()),
      f"--data_dir={data_dir}",
      f"--workdir={tmp_path / name}",
    )
    assert done.returncode == 0, done.stderr
  old, resumed, anew = (
    _rows(folder)
    for folder in (OLD / "done", tmp_path / "resumed", tmp_path / "anew")
  )
  assert [row["step"] for row in resumed] == [row["step"] for row in old]
  manifests = [
    json.loads(path.read_text())["leaves"]
    for path in (
      OLD / "done/manifest.json",
      tmp_path / "resumed/checkpoints/60/manifest.json",
    )
  ]
  if anew == old:  # this processor computes as the one that made the old run
    assert resumed == old
    shared = [path for path in manifests[0] if not path.startswith("sums/")]
    assert shared and all(manifests[1][p] == manifests[0][p] for p in shared)
  else:
    for ours, theirs in zip(resumed, old, strict=True):
      assert all(np.isclose(ours[k], v, 1e-4, 1e-6) for k, v in theirs.items())
