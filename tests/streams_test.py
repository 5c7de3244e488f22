"""Streams that are closed, full or broken cost text, never a run."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from rethink import console, signals
from rethink.storage import metric_writers, runs, streams
from tests.conftest import ROOT, clean_environment
from tests.faults_test import _ARGS, _rows

_ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
_HEAD = "from rethink.storage import streams; streams.install();"
_PRINT = (
  "print('x' * 9999); import sys; sys.stderr.write(chr(233)); sys.exit(3)"
)


@pytest.mark.parametrize(
  "redirection",
  [
    ">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full", "2>/dev/full",
    ">/dev/full 2>&1", "| true", "2>&1 | true",
  ],
)  # fmt: skip
def test_a_process_prints_into_any_stream_and_keeps_its_exit_code(redirection):
  code = f"{_HEAD} import time; time.sleep(0.05); {_PRINT}"
  command = f'"$0" -c "$1" {redirection}; exit ${{PIPESTATUS[0]}}'
  done = subprocess.run(
    ["bash", "-c", command, sys.executable, code],
    cwd=ROOT,
    env={**clean_environment(), **_ASCII},
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 3, done.stderr
  assert "Traceback" not in done.stderr and "Error" not in done.stderr


def test_the_number_of_a_closed_stream_is_given_to_no_file(tmp_path):
  code = (
    f"{_HEAD} import os; f = open({str(tmp_path / 'state')!r}, 'w');"
    "os.write(1, b'said by a library'); f.write('state'); f.close()"
  )
  command = ["bash", "-c", 'exec "$0" -c "$1" >&-', sys.executable, code]
  assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == 0
  assert (tmp_path / "state").read_text() == "state"


def test_text_arrives_whole_where_the_stream_works():
  code = f"{_HEAD} print('a' * 70000); print('é', flush=True)"
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60
  )
  assert done.stdout.decode() == "a" * 70000 + "\né\n"


def test_a_progress_bar_asks_a_stream_that_is_not_there(monkeypatch):
  monkeypatch.setattr(sys, "stdout", streams._writer(1, None))
  with console.Progress("name", 10, 10, on=True) as progress:
    progress.step(1, 0.5, 0.5)


def _sink_that_fails(monkeypatch, name: str, at: str):
  def opened(*_):
    if at == "open":
      raise OSError("No space left on device")

    def log(row):
      raise OSError("No space left on device")

    return log

  monkeypatch.setattr(metric_writers, name, opened)


@pytest.mark.parametrize("at", ["open", "log"])
@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_sink_that_fails_is_named_once_and_dropped(
  tmp_path, monkeypatch, capsys, name, at
):
  _sink_that_fails(monkeypatch, name, at)
  book = {"tensorboard": True, "wandb_project": "x" * (name == "wandb")}
  with contextlib.ExitStack() as stack:
    book["tensorboard"] = name == "tensorboard"
    (log,) = metric_writers.open_all(stack, tmp_path, 1, book, {})
    for step in range(3):
      log({"step": step, "epoch": step, "x": 1.0})
  said = capsys.readouterr().err
  assert said.count("gets no more rows: No space left on device") == 1


def test_tensorboards_folder_may_be_a_file(tmp_path, capsys):
  pytest.importorskip("tensorboardX")
  (tmp_path / "tensorboard").write_text("")
  book = {"tensorboard": True, "wandb_project": ""}
  with contextlib.ExitStack() as stack:
    (log,) = metric_writers.open_all(stack, tmp_path, 1, book, {})
    log({"step": 1, "epoch": 1, "x": 1.0})
  assert "TensorBoard gets no more rows" in capsys.readouterr().err


_WAIT = """
import sys, time
from rethink import signals
from rethink.storage import streams
streams.install()
signals._SECONDS_BETWEEN = 0.1
stop = signals.StopFlag().install()
stop.clean_up = lambda: print("cleaned up", flush=True)
print("ready", flush=True)
if sys.argv[1] == "compile":  # C code that returns to Python only at its end
  import hashlib
  hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)
while not stop.name or (stop.name == "SIGINT" and stop._told is None):
  time.sleep(0.01)  # saving takes longer than answering a Ctrl-C
print(stop.name, flush=True)
sys.exit(75)
"""


@pytest.fixture
def start():
  """Starts a process that waits for a signal; kills what is left of it."""
  begun = []

  def one(mode: str, *wrapper: str) -> subprocess.Popen:
    process = subprocess.Popen(
      [*wrapper, sys.executable, "-c", _WAIT, mode],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    begun.append(process)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process

  yield one
  for process in begun:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_each_of_four_signals_asks_to_save(start, name):
  process = start("wait")
  process.send_signal(getattr(signal, name))
  said, _ = process.communicate(timeout=30)
  assert process.returncode == 75 and f"{name}\n" in said
  assert ("press Ctrl-C again" in said) == (name == "SIGINT")


def test_nohup_is_respected(start):
  process = start("wait", "nohup")
  process.send_signal(signal.SIGHUP)
  time.sleep(0.2)
  assert process.poll() is None
  process.send_signal(signal.SIGTERM)
  said, _ = process.communicate(timeout=30)
  assert process.returncode == 75 and "SIGTERM\n" in said


def test_a_second_ctrl_c_ends_at_once_also_in_the_middle_of_c_code(start):
  process = start("compile")
  process.send_signal(signal.SIGINT)
  line = process.stdout.readline()
  assert "press Ctrl-C again to end at once" in line
  time.sleep(0.2)
  began = time.monotonic()
  process.send_signal(signal.SIGINT)
  said, _ = process.communicate(timeout=30)
  assert process.returncode == signals.EXIT_AT_ONCE
  assert time.monotonic() - began < 5
  assert "cleaned up" in said and "ended at once" in said


def test_a_second_signal_of_another_kind_changes_nothing(start):
  process = start("wait")
  for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGTERM"):
    process.send_signal(getattr(signal, name))
  process.communicate(timeout=30)
  assert process.returncode == 75


def _piped(workdir, data_dir, redirection: str) -> subprocess.Popen:
  """A run in a process group of its own, as a shell starts `... | tee $LOG`."""
  command = f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}'
  args = (
    *(sys.executable, "-m", "rethink.main", *_ARGS),
    *("--config.num_epochs=5000", f"--workdir={workdir}"),
    f"--data_dir={data_dir}",
  )
  # The shell itself must outlive the signal, to tell the exit code.
  return subprocess.Popen(
    ["bash", "-c", f"trap : TERM INT HUP USR1; {command}", "sh", *args],
    cwd=ROOT,
    env={**clean_environment(), "LOG": f"{workdir}.log"},
    start_new_session=True,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )


def _interrupt(process, workdir, name: str, rows: int) -> None:
  limit = time.monotonic() + 200
  while _rows(workdir) < rows:
    assert process.poll() is None and time.monotonic() < limit
    time.sleep(0.01)
  os.killpg(process.pid, getattr(signal, name))
  assert process.wait(timeout=120) == 75
  status = runs.read(workdir).status
  assert (
    status["state"] == "preempted" and f"{name}: saved" in status["message"]
  )
  step = int(status["message"].partition("saved step ")[2].split()[0])
  assert (workdir / f"checkpoints/{step}/manifest.json").exists()
  assert not (workdir / "lock.json").exists()


def test_a_signal_to_the_whole_group_saves(tmp_path, data_dir):
  workdir = tmp_path / "run"
  process = _piped(workdir, data_dir, "2>&1 | tee $LOG")
  _interrupt(process, workdir, "SIGINT", 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
@pytest.mark.parametrize(
  "redirection",
  [
    "| tee $LOG",
    "2>&1 | tee $LOG",
    "2>&1 | head -2",
    ">&- 2>&-",
    "> /dev/full 2>&1",
  ],
)
def test_any_signal_before_any_stream_saves(
  tmp_path, data_dir, name, redirection
):
  workdir = tmp_path / "run"
  for rows in (1, 30, 300):  # and the same command goes on
    process = _piped(workdir, data_dir, redirection)
    _interrupt(process, workdir, name, rows)
