"""Real processes, really killed: the same command ends in the same bits."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

import configs.demo
from rethink.storage import runs
from tests.conftest import ROOT, clean_environment, python
from tests.method_train_test import end

# Crop, dropout and batches draw from every stream; saves fall inside epochs.
_ARGS = (
  "--config=configs/base.py",
  "--config.train_examples=500",
  "--config.model=mlp(widths=(64, 64), dropout_rate=0.1)",
  "--config.image_size=7",
  "--config.batch_size=48",
  "--config.corruptions=('partially_corrupted_labels(0.5)',)",
  "--config.regularizers=('random_crop()', 'weight_decay()')",
  "--config.bookkeeping.chunk_seconds=0.02",
  "--config.bookkeeping.checkpoint_every_seconds=0.1",
  "--config.bookkeeping.tensorboard=False",
)


# Images are read from disk for every step.
_STREAMED = ("--config.pipeline=stream", "--config.central_fraction=0.0")


def _start(
  workdir, data_dir, epochs, *args, start_new_session=False, **env: str
) -> subprocess.Popen:
  return subprocess.Popen(
    [
      sys.executable,
      "-m",
      "rethink.main",
      *_ARGS,
      f"--workdir={workdir}",
      f"--data_dir={data_dir}",
      f"--config.num_epochs={epochs}",
      *args,
    ],
    cwd=ROOT,
    env={**clean_environment(), **env},
    start_new_session=start_new_session,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def _finish(process: subprocess.Popen) -> str:
  text, _ = process.communicate(timeout=300)
  assert process.returncode == 0, text
  return text


def _rows(workdir) -> int:
  path = workdir / "metrics.jsonl"
  return path.read_text().count("\n") if path.exists() else 0


def _kill_after(process, workdir, more_rows: int, seconds: float) -> None:
  """SIGKILL some seconds after the run has logged this many rows more.

  A fast machine ends in these seconds: ten rows later at the latest.
  """
  wanted = _rows(workdir) + more_rows
  limit = time.monotonic() + 120
  while _rows(workdir) < wanted and process.poll() is None:
    assert time.monotonic() < limit, "the run does not get on"
    time.sleep(0.005)
  until = time.monotonic() + seconds
  while time.monotonic() < until and _rows(workdir) < wanted + 10:
    time.sleep(0.005)
  process.kill()
  process.communicate()


def _kill_rounds(
  tmp_path, data_dir, epochs, rounds: int, early: int, args=()
) -> int:
  """Kills a run again and again; returns how often a state was resumed."""
  draw = random.Random(0)
  whole = tmp_path / "whole"
  _finish(_start(whole, data_dir, epochs, *args))
  broken = tmp_path / "broken"
  for i in range(rounds):
    process = _start(broken, data_dir, epochs, *args)
    if i < early:  # in imports, data start-up, compilation
      _kill_after(process, broken, 0, draw.uniform(0, 6))
    else:
      _kill_after(process, broken, draw.randint(1, 8), draw.uniform(0, 0.2))
    assert process.returncode == -signal.SIGKILL, "done before it was killed"
  text = _finish(_start(broken, data_dir, epochs, *args))
  assert runs.read(broken).status["state"] == "done"
  assert end(broken) == end(whole)
  return text.count("resuming at step")


def test_a_run_killed_three_times_ends_in_the_same_bits(tmp_path, data_dir):
  assert _kill_rounds(tmp_path, data_dir, epochs=80, rounds=3, early=1) == 1


def test_a_streamed_run_that_is_killed_ends_in_the_same_bits(
  tmp_path, data_dir
):
  resumed = _kill_rounds(
    tmp_path, data_dir, epochs=12, rounds=1, early=0, args=_STREAMED
  )
  assert resumed == 1


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_in_the_same_bits(tmp_path, data_dir):
  assert _kill_rounds(tmp_path, data_dir, epochs=400, rounds=20, early=5) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_to_all_processes_that_decode_saves_the_run(
  tmp_path, data_dir, name
):
  args = (*_STREAMED, "--config.bookkeeping.stream_workers=2")
  process = _start(tmp_path, data_dir, 1000, *args, start_new_session=True)
  while not _rows(tmp_path) and process.poll() is None:
    time.sleep(0.01)
  os.killpg(process.pid, getattr(signal, name))
  text, _ = process.communicate(timeout=120)
  assert process.returncode == 75, text
  assert "Traceback" not in text


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_saves_exits_75_and_the_same_command_goes_on(
  tmp_path, data_dir, name
):
  process = _start(tmp_path, data_dir, epochs=80)
  while _rows(tmp_path) < 3 and process.poll() is None:
    time.sleep(0.01)
  process.send_signal(getattr(signal, name))
  time.sleep(0.02)
  process.send_signal(signal.SIGTERM)  # a second one changes nothing
  text, _ = process.communicate(timeout=60)
  assert process.returncode == 75, text
  assert "run the same command again" in text
  status = runs.read(tmp_path).status
  assert status["state"] == "preempted"
  saved = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
  assert f"saved step {saved} of" in text
  text = _finish(_start(tmp_path, data_dir, epochs=80))
  assert f"resuming at step {saved}" in text


def test_f5_a_kill_right_after_the_signal_costs_no_bit(tmp_path, data_dir):
  whole, broken = tmp_path / "whole", tmp_path / "broken"
  _finish(_start(whole, data_dir, epochs=80))
  process = _start(broken, data_dir, epochs=80)
  while _rows(broken) < 3 and process.poll() is None:
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  time.sleep(0.1)
  process.kill()
  process.communicate()
  assert process.returncode in (-signal.SIGKILL, 75)
  assert "resuming at step" in _finish(_start(broken, data_dir, epochs=80))
  assert end(broken) == end(whole)


def test_f29_the_second_of_two_trainers_is_refused(tmp_path, data_dir):
  first = _start(tmp_path, data_dir, epochs=1000)
  while not _rows(tmp_path) and first.poll() is None:
    time.sleep(0.01)
  second = _start(tmp_path, data_dir, epochs=1000)
  text, _ = second.communicate(timeout=120)
  assert second.returncode == 2
  assert f"in use by process {first.pid} on " in text
  first.kill()
  first.communicate()
  third = _start(tmp_path, data_dir, epochs=1000)
  while f'"pid": {third.pid},' not in (tmp_path / "lock.json").read_text():
    assert third.poll() is None
    time.sleep(0.01)
  third.send_signal(signal.SIGTERM)
  text, _ = third.communicate(timeout=120)
  assert third.returncode == 75, text
  assert f"taken over from process {first.pid}" in text


def _sweep(folder, data_dir) -> subprocess.Popen:
  return subprocess.Popen(
    [
      sys.executable,
      "-m",
      "rethink.sweep",
      "--config=configs/demo.py",
      "--only=mlp_1x512/*",
      "--config.train_examples=300",
      "--config.num_epochs=60",
      "--config.bookkeeping.chunk_seconds=0.01",
      "--config.bookkeeping.checkpoint_every_epochs=5",
      f"--runs={folder}",
      f"--data_dir={data_dir}",
    ],
    cwd=ROOT,
    env=clean_environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def test_f34_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path, data_dir):
  whole, broken = tmp_path / "whole", tmp_path / "broken"
  _finish(_sweep(whole, data_dir))
  names = [f"mlp_1x512/{x}" for x in ("true_labels", "gaussian")]
  # Once inside the first run, once inside the last one.
  for name, pattern in zip(
    names, ("checkpoints/*/manifest.json", "metrics.jsonl"), strict=True
  ):
    process = _sweep(broken, data_dir)
    while not list((broken / "demo" / name).glob(pattern)):
      assert process.poll() is None, process.communicate()
      time.sleep(0.005)
    process.kill()
    said, _ = process.communicate()
  assert "resuming at step" in said and "is done already" not in said
  text = _finish(_sweep(broken, data_dir))
  assert text.count("is done already") == 4
  for name in configs.demo.RUNS:
    if name.startswith("mlp_1x512"):
      assert end(broken / "demo" / name) == end(whole / "demo" / name)
  text = _finish(_sweep(broken, data_dir))
  assert text.count("is done already") == 5


def test_a_disk_that_fills_up_reaches_the_exit_code(tmp_path, data_dir):
  # No file may grow past 100 kB: metrics and status fit, a state does not.
  code = (
    "import resource, runpy, sys;"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
    "sys.argv = ['main', *sys.argv[1:]];"
    "runpy.run_module('rethink.main', run_name='__main__')"
  )
  done = python(
    "-c",
    code,
    "--config=configs/base.py",
    "--config.num_epochs=3",
    "--config.bookkeeping.tensorboard=False",
    f"--workdir={tmp_path}",
    f"--data_dir={data_dir}",
  )
  assert done.returncode == 1, done.stderr
  assert "a checkpoint could not be saved" in done.stderr
  assert "make room and run the same command again" in done.stderr
  assert runs.read(tmp_path).status["state"] == "failed"


def test_the_number_of_devices_changes_rounding_only(tmp_path, data_dir):
  def run(count):
    workdir = tmp_path / str(count)
    flag = f"--xla_force_host_platform_device_count={count}"
    _finish(_start(workdir, data_dir, 4, XLA_FLAGS=flag))
    record = runs.read(workdir)
    assert record.status["devices"] == count
    return record.rows

  one = run(1)
  for devices in (2, 8):
    many = run(devices)
    assert [r["step"] for r in one] == [r["step"] for r in many]
    for a, b in zip(one, many, strict=True):
      for key in ("train/loss", "test/loss", "batch/loss"):
        assert a[key] == pytest.approx(b[key], rel=1e-4), key


def test_a_run_goes_on_with_another_number_of_devices(tmp_path, data_dir):
  process = _start(
    tmp_path,
    data_dir,
    epochs=60,
    XLA_FLAGS="--xla_force_host_platform_device_count=4",
  )
  _kill_after(process, tmp_path, 5, 0.3)
  text = _finish(_start(tmp_path, data_dir, epochs=60))
  assert "resuming at step" in text
  assert runs.read(tmp_path).status["devices"] == 1
