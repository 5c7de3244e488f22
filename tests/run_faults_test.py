"""Whole runs, in this process, that meet a fault: docs/reliability.md."""

import os
import shutil
import signal

import numpy as np
import pytest

from rethink import errors, evaluate, signals, train_step
from rethink.methods import runner, train
from rethink.pipeline import resident, run_data
from rethink.prepare import digits, writer
from rethink.storage import locks, runs
from tests.conftest import python
from tests.method_train_test import StopAfter, end


def _execute(config, workdir, data_dir, stop=None, **kwargs):
  return runner.execute(
    config, str(workdir), data_dir, stop or StopAfter(), **kwargs
  )


def _steps(workdir) -> list[int]:
  return sorted(int(name) for name in os.listdir(workdir / "checkpoints"))


@pytest.fixture
def stop():
  """A flag that real signals set, for the time of a test."""
  flag = signals.StopFlag().install()
  yield flag
  flag.uninstall()


@pytest.fixture
def interrupted(config, tmp_path, data_dir):
  """A run that was stopped at step 9 of 21; it holds the steps 7 and 9."""
  config.bookkeeping.chunk_seconds = 1e-9
  config.bookkeeping.checkpoint_every_epochs = 1
  with pytest.raises(errors.PreemptedError):
    _execute(config, tmp_path / "run", data_dir, StopAfter(11))
  assert _steps(tmp_path / "run") == [7, 9]
  return tmp_path / "run"


def _raise_in(monkeypatch, owner, name: str, call: int) -> None:
  """From now on the n-th call of a function comes together with a SIGTERM."""
  original, calls = getattr(owner, name), [0]

  def signalled(*args, **kwargs):
    calls[0] += 1
    if calls[0] == call:
      os.kill(os.getpid(), signal.SIGTERM)
    return original(*args, **kwargs)

  monkeypatch.setattr(owner, name, signalled)


@pytest.mark.parametrize(
  ("owner", "name", "call", "saved"),
  [
    (run_data, "load", 1, []),  # data start-up
    (
      train_step,
      "create_train_state",
      1,
      [],
    ),  # tracing, the first half of compiling
    (train_step, "train_step", 1, [1]),  # in the middle of compiling a step
    (resident, "epoch_order", 2, [7, 8]),  # at the first step of an epoch
    (evaluate, "evaluate", 2, [7]),
    (train.Trainer, "_save", 1, [7]),
  ],
)
def test_f3_sigterm_in_any_phase_saves_and_the_same_command_goes_on(
  config, tmp_path, data_dir, monkeypatch, stop, owner, name, call, saved
):
  config.bookkeeping.chunk_seconds = 1e-9
  config.bookkeeping.checkpoint_every_epochs = 1
  if owner is train_step:  # an architecture that nothing is compiled for yet
    config.model = f"mlp(widths=({len(name)}, 9))"
  with monkeypatch.context() as patch:
    _raise_in(patch, owner, name, call)
    with pytest.raises(errors.PreemptedError, match="SIGTERM"):
      _execute(config, tmp_path / "run", data_dir, stop)
  assert _steps(tmp_path / "run") == saved
  assert runs.read(tmp_path / "run").status["state"] == "preempted"
  assert not (tmp_path / "run" / locks.NAME).exists()
  _execute(config, tmp_path / "run", data_dir)
  _execute(config, tmp_path / "whole", data_dir)
  assert end(tmp_path / "run") == end(tmp_path / "whole")


def test_f4_more_signals_while_saving_change_nothing(
  config, tmp_path, data_dir, monkeypatch, stop
):
  config.bookkeeping.chunk_seconds = 1e-9
  save = train.checkpoints.Checkpoints.save

  def signalled(self, step, state):
    os.kill(os.getpid(), signal.SIGTERM)
    save(self, step, state)
    os.kill(os.getpid(), signal.SIGINT)

  with monkeypatch.context() as patch:
    patch.setattr(train.checkpoints.Checkpoints, "save", signalled)
    _raise_in(patch, evaluate, "evaluate", 1)
    with pytest.raises(errors.PreemptedError, match="SIGTERM: saved step 7"):
      _execute(config, tmp_path, data_dir, stop)
  assert _steps(tmp_path) == [7]
  _execute(config, tmp_path, data_dir)
  assert runs.read(tmp_path).status["state"] == "done"


def test_f8_after_a_flipped_bit_the_run_ends_in_the_same_bits(
  config, interrupted, tmp_path, data_dir, capsys
):
  files = (interrupted / "checkpoints/9").rglob("d/*")
  largest = max(files, key=lambda p: p.stat().st_size)
  data = bytearray(largest.read_bytes())
  data[len(data) // 2] ^= 1
  largest.write_bytes(data)
  _execute(config, interrupted, data_dir)
  said = capsys.readouterr()
  assert f"{largest} is not what was written" in said.err
  assert "resuming at step 7\n" in said.out
  _execute(config, tmp_path / "whole", data_dir)
  assert end(interrupted) == end(tmp_path / "whole")


def test_f10_only_a_flag_starts_over(config, interrupted, tmp_path, data_dir):
  for step in (7, 9):
    (interrupted / f"checkpoints/{step}/manifest.ocdbt").unlink()
  rows = runs.read(interrupted).rows
  for _ in range(2):
    with pytest.raises(errors.CheckpointError, match="restart_from_scratch"):
      _execute(config, interrupted, data_dir)
  assert runs.read(interrupted).rows == rows
  assert runs.read(interrupted).status["state"] == "failed"
  _execute(config, interrupted, data_dir, restart=True)
  _execute(config, tmp_path / "whole", data_dir)
  assert end(interrupted) == end(tmp_path / "whole")
  assert sorted(os.listdir(interrupted / "damaged")) == [
    "best-7.1",
    "checkpoints-7.1",
    "checkpoints-9.1",
  ]


def test_f10_a_finished_run_starts_over_under_the_flag_as_well(
  config, tmp_path, data_dir
):
  _execute(config, tmp_path, data_dir)
  first = end(tmp_path)
  config.seed = 1  # and even as another run
  _execute(config, tmp_path, data_dir, restart=True)
  assert end(tmp_path) != first
  assert [row["step"] for row in runs.read(tmp_path).rows] == [7, 14, 21]


@pytest.mark.slow
def test_f10_damaged_states_end_with_exit_code_4_and_a_flag_helps(
  tmp_path, data_dir
):
  args = (
    "-m",
    "rethink.main",
    "--config=configs/base.py",
    "--config.num_epochs=1",
    "--config.bookkeeping.tensorboard=False",
    f"--workdir={tmp_path}",
    f"--data_dir={data_dir}",
  )
  assert python(*args).returncode == 0
  (step,) = _steps(tmp_path)
  (tmp_path / f"checkpoints/{step}/_METADATA").write_text("{")
  (tmp_path / "status.json").unlink()
  done = python(*args)
  assert done.returncode == 4
  assert "Traceback" not in done.stderr
  assert f"{step}/_METADATA is not what was written" in done.stderr
  assert python(*args, "--restart_from_scratch").returncode == 0


def test_f19_another_dtype_is_refused(config, interrupted, data_dir):
  config.dtype = "bfloat16"
  with pytest.raises(errors.ConfigError, match="dtype: 'float32' -> 'bfloat16"):
    _execute(config, interrupted, data_dir)
  (interrupted / "config.json").unlink()  # the manifests know it, too
  with pytest.raises(errors.ConfigError, match="config: fingerprint"):
    _execute(config, interrupted, data_dir)


def test_f22_other_data_are_refused(config, interrupted, tmp_path):
  other = str(tmp_path / "data")
  source = digits.source()
  fewer = list(source.splits["train"])[1:]
  source = source._replace(splits={**source.splits, "train": fewer})
  writer.write("digits", source, other)
  with pytest.raises(errors.ConfigError, match=r"fingerprint: '.*' -> '.*'"):
    _execute(config, interrupted, other)
  assert _steps(interrupted) == [7, 9]


def test_f29_a_run_that_lost_its_lock_stops_and_writes_nothing_more(
  config, tmp_path, data_dir, monkeypatch
):
  epoch = train.Trainer._epoch

  def lose(self):
    if self.step == 7:
      (tmp_path / locks.NAME).write_text(
        '{"token": "x", "pid": 7, "host": "far"}'
      )
      shutil.copy(tmp_path / "status.json", tmp_path / "before")
    epoch(self)

  monkeypatch.setattr(train.Trainer, "_epoch", lose)
  with pytest.raises(locks.LostError, match="process 7 on far"):
    _execute(config, tmp_path, data_dir)
  for name in ("before", "status.json"):
    assert "running" in (tmp_path / name).read_text()
  assert not _steps(tmp_path)
  assert "far" in (tmp_path / locks.NAME).read_text()


def test_f29_a_frozen_process_whose_run_another_has_finished_leaves(
  config, tmp_path, data_dir, monkeypatch
):
  epoch, taken = train.Trainer._epoch, []

  def freeze(self):
    if self.step == 7 and not taken:
      taken.append(1)
      for saved in (self.saved._newest, self.saved._best):
        saved.wait()  # a frozen process saves nothing
      (tmp_path / locks.NAME).unlink()  # another one takes over
      _execute(config, tmp_path, data_dir)  # finishes, and gives the lock back
    epoch(self)

  monkeypatch.setattr(train.Trainer, "_epoch", freeze)
  with pytest.raises(locks.LostError, match=r"lock\.json is gone"):
    _execute(config, tmp_path, data_dir)
  record = runs.read(tmp_path)
  assert record.status["state"] == "done"
  text = (tmp_path / "metrics.jsonl").read_text()
  assert text.count("\n") == len(record.rows) == 3


def test_a_run_that_is_ended_at_once_leaves_its_directory(
  config, tmp_path, data_dir, monkeypatch
):
  stop = StopAfter()

  def end_at_once(*_, **__):
    stop.clean_up()
    assert not (tmp_path / locks.NAME).exists()
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(evaluate, "evaluate", end_at_once)
    with pytest.raises(KeyboardInterrupt):
      _execute(config, tmp_path, data_dir, stop)
  status = runs.read(tmp_path).status
  assert status["state"] == "preempted" and "second Ctrl-C" in status["message"]
  _execute(config, tmp_path, data_dir)


def test_f33_a_clock_that_jumps_back_changes_no_bit(
  config, interrupted, tmp_path, data_dir
):
  for path in interrupted.rglob("*"):
    seconds = float(np.random.default_rng(len(str(path))).integers(0, 2**32))
    os.utime(path, (seconds, seconds))
  _execute(config, interrupted, data_dir)
  _execute(config, tmp_path / "whole", data_dir)
  assert end(interrupted) == end(tmp_path / "whole")
