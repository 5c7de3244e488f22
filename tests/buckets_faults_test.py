"""Disks that refuse, directories that vanish, devices that are missing."""

import pathlib
import resource
import shutil

import pytest

from rethink import errors, evaluate
from rethink.methods import runner
from rethink.pipeline import datasets
from rethink.storage import manifests, retries, runs
from tests.checkpoint_faults_test import open_all, restored, state
from tests.conftest import python
from tests.method_train_test import StopAfter, end

_NO_NETWORK = """
import runpy, socket, sys

def no_network(*args, **kwargs):
  raise AssertionError("the network is used")

socket.socket.connect = socket.getaddrinfo = no_network
sys.argv = ["main", *sys.argv[1:]]
runpy.run_module("rethink.main", run_name="__main__")
"""


def _execute(config, workdir, data_dir):
  return runner.execute(config, str(workdir), data_dir, StopAfter())


def test_f12_a_disk_that_is_full_of_metrics_stops_the_run_and_costs_no_bit(
  config, tmp_path, data_dir, monkeypatch
):
  log, limits = runs.Run.log, resource.getrlimit(resource.RLIMIT_FSIZE)

  def full(self, row):
    if len(self.rows) < 2:
      return log(self, row)
    size = (self.workdir / "metrics.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
    try:
      return log(self, row)  # the disk takes the first 20 bytes of the line
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)

  with monkeypatch.context() as patch:
    patch.setattr(runs.Run, "log", full)
    with pytest.raises(errors.RethinkError, match=r"metrics\.jsonl cannot be"):
      _execute(config, tmp_path / "run", data_dir)
  text = (tmp_path / "run" / "metrics.jsonl").read_text()
  assert len(text.rpartition("\n")[2]) == 20
  record = runs.read(tmp_path / "run")
  assert record.status["state"] == "failed"
  assert [row["epoch"] for row in record.rows] == [1, 2]
  _execute(config, tmp_path / "run", data_dir)
  _execute(config, tmp_path / "whole", data_dir)
  assert end(tmp_path / "run") == end(tmp_path / "whole")


def test_f13_a_run_directory_that_vanishes_ends_the_run(
  config, tmp_path, data_dir, monkeypatch
):
  original = evaluate.evaluate

  def vanish(*args, **kwargs):
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    return original(*args, **kwargs)

  monkeypatch.setattr(evaluate, "evaluate", vanish)
  with pytest.raises(errors.RethinkError, match=r"lock\.json is gone"):
    _execute(config, tmp_path / "run", data_dir)
  assert not (tmp_path / "run").exists()


def _failing(monkeypatch, times: int):
  """Storage that answers "busy" so many times, then works."""
  write, calls = manifests.write, [0]

  def fail_first(*args):
    calls[0] += 1
    if calls[0] <= times:
      raise OSError("503 service unavailable")
    write(*args)

  monkeypatch.setattr(manifests, "write", fail_first)


def test_f14_a_save_is_tried_three_times(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(retries, "WAITS", (0.01, 0.02))
  _failing(monkeypatch, 2)
  saved = open_all(tmp_path)
  saved.restore(state(0))
  saved.save(10, state(10))
  saved.close()
  assert capsys.readouterr().err.count("503 service unavailable; trying") == 2
  assert restored(tmp_path) == 10


def test_f14_storage_that_stays_away_ends_the_run(tmp_path, monkeypatch):
  monkeypatch.setattr(retries, "WAITS", (0.01, 0.02))
  _failing(monkeypatch, 3)
  saved = open_all(tmp_path)
  saved.restore(state(0))
  saved.save(10, state(10))
  with pytest.raises(errors.RethinkError, match="503"):
    saved.close()
  assert restored(tmp_path) is None


def test_f14_a_state_that_cannot_be_read_at_once_is_not_called_damaged(
  tmp_path, monkeypatch
):
  saved = open_all(tmp_path)
  saved.restore(state(0))
  saved.save(10, state(10))
  saved.close()
  monkeypatch.setattr(retries, "WAITS", (0.01, 0.02))
  read, calls = pathlib.Path.read_bytes, []

  def fail_first(path):
    calls.append(path)
    if len(calls) < 3:
      raise OSError("429 too many requests")
    return read(path)

  monkeypatch.setattr(pathlib.Path, "read_bytes", fail_first)
  assert restored(tmp_path) == 10
  assert not (tmp_path / "damaged").exists()


def test_f24_damaged_records_are_left_out_on_request_only(
  config, tmp_path, data_dir
):
  folder = shutil.copytree(f"{data_dir}/digits", tmp_path / "d" / "digits")
  (shard,) = folder.glob("*/*-train.*")
  data = bytearray(shard.read_bytes())
  for position in (len(data) // 3, len(data) // 2):
    data[position] ^= 0xFF
  shard.write_bytes(data)
  with pytest.raises(errors.DataError, match="prepare --check digits"):
    _execute(config, tmp_path / "run", tmp_path / "d")
  whole = datasets.load("digits", data_dir)
  holed = datasets.load("digits", str(tmp_path / "d"), skip_damaged=True)
  assert len(holed.skipped) == 2
  assert all("split 'train': " in line for line in holed.skipped)
  assert len(holed.splits["train"].id) == 1498
  assert set(holed.splits["train"].id) < set(whole.splits["train"].id)
  assert holed.info.fingerprint != whole.info.fingerprint
  config.skip_damaged = True
  config.train_examples = 0
  _execute(config, tmp_path / "run", str(tmp_path / "d"))
  status = runs.read(tmp_path / "run").status
  assert status["data"]["train"] == 1498
  assert status["data"]["skipped"] == list(holed.skipped)


def test_f27_a_run_needs_neither_network_nor_tensorflow(tmp_path, data_dir):
  (tmp_path / "tensorflow").mkdir()
  (tmp_path / "tensorflow" / "__init__.py").write_text("1 / 0")
  done = python(
    "-c",
    _NO_NETWORK,
    "--config=configs/base.py",
    "--config.num_epochs=1",
    f"--workdir={tmp_path / 'run'}",
    f"--data_dir={data_dir}",
    PYTHONPATH=str(tmp_path),
  )
  assert done.returncode == 0, done.stderr
  assert runs.read(tmp_path / "run").status["state"] == "done"


def test_f36_another_platform_than_asked_for_is_refused(
  config, tmp_path, data_dir
):
  config.bookkeeping.platform = "tpu"
  with pytest.raises(
    errors.ConfigError, match=r"asks for 'tpu'.*runs on 'cpu'"
  ):
    _execute(config, tmp_path / "run", data_dir)
  assert not (tmp_path / "run").exists()
  config.bookkeeping.platform = "cpu"
  _execute(config, tmp_path / "run", data_dir)


def test_f36_a_device_that_jax_cannot_use_is_one_sentence(tmp_path, data_dir):
  done = python(
    "-m",
    "rethink.main",
    "--config=configs/base.py",
    f"--workdir={tmp_path}",
    f"--data_dir={data_dir}",
    JAX_PLATFORMS="tpu",
  )
  assert done.returncode == 2, done.stderr
  assert "JAX cannot use its devices" in done.stderr
  assert "Traceback" not in done.stderr
