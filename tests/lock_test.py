"""F29: two trainers in one run directory; locks of processes that are gone."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import msgspec
import pytest

from rethink import errors
from rethink.storage import locks
from tests.conftest import ROOT, clean_environment

_HOLDER = """
import sys, time
from rethink.storage import locks
with locks.acquire(sys.argv[1]):
  print("held", flush=True)
  time.sleep(60)
"""
# Waits for the file `go`, so that all start together, and holds until `end`.
_RACER = """
import pathlib, sys, time
from rethink import errors
from rethink.storage import locks
workdir = pathlib.Path(sys.argv[1])
print("ready", flush=True)
limit = time.monotonic() + 60
while not (workdir / "go").exists() and time.monotonic() < limit:
  time.sleep(0.0005)
try:
  with locks.acquire(workdir):
    print("won", flush=True)
    while not (workdir / "end").exists() and time.monotonic() < limit:
      time.sleep(0.01)
except errors.ConfigError:
  print("refused", flush=True)
"""


def _process(code: str, workdir) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, "-c", code, str(workdir)],
    cwd=ROOT,
    env=clean_environment(),
    stdout=subprocess.PIPE,
    text=True,
  )


def _line(process: subprocess.Popen) -> str:
  assert process.stdout
  return process.stdout.readline().strip()


@pytest.fixture
def holder(tmp_path):
  process = _process(_HOLDER, tmp_path)
  assert _line(process) == "held"
  yield process
  process.kill()
  process.communicate(timeout=60)


def _lock(workdir) -> pathlib.Path:
  return pathlib.Path(workdir) / locks.NAME


def _write(workdir, seconds_ago: float = 0, **fields) -> None:
  """Leaves a lock as another process would."""
  lock = msgspec.structs.asdict(locks.this_process())
  holder = {**lock, "token": "t0", **fields}
  _lock(workdir).write_text(json.dumps(holder))
  then = time.time() - seconds_ago
  os.utime(_lock(workdir), (then, then))


def test_f29_a_second_trainer_is_refused_by_name(tmp_path, holder):
  with pytest.raises(errors.ConfigError) as caught:
    with locks.acquire(tmp_path):
      pass
  message = str(caught.value)
  assert f"process {holder.pid} on {os.uname().nodename}" in message
  assert "wait for it, stop it" in message
  assert caught.value.exit_code == 2
  assert json.loads(_lock(tmp_path).read_text())["pid"] == holder.pid


def test_f29_the_lock_of_a_killed_process_is_taken_over(
  tmp_path, holder, capsys
):
  holder.send_signal(signal.SIGKILL)  # a zombie: nobody waits for it
  time.sleep(0.2)
  with locks.acquire(tmp_path):
    assert json.loads(_lock(tmp_path).read_text())["pid"] == os.getpid()
  assert f"taken over from process {holder.pid}" in capsys.readouterr().out
  assert not list(tmp_path.iterdir())  # nor does anything else stay


def test_f29_a_process_that_only_stands_still_keeps_its_lock(tmp_path, holder):
  holder.send_signal(signal.SIGSTOP)
  os.utime(_lock(tmp_path), (0, 0))
  with pytest.raises(errors.ConfigError, match="in use"):
    with locks.acquire(tmp_path):
      pass


def test_f29_the_pid_of_the_dead_may_be_in_use_again(tmp_path):
  _write(tmp_path, started="12")  # our own pid, but started at another time
  with locks.acquire(tmp_path):
    pass


@pytest.fixture
def impatient(monkeypatch):
  """A lock of another machine is watched for a moment only."""
  monkeypatch.setattr(locks, "STALE_SECONDS", 0.2)
  monkeypatch.setattr(locks, "UNFINISHED_SECONDS", 0.2)


@pytest.mark.parametrize("fields", [{}, {"pid": 2**22 + 1}])
@pytest.mark.parametrize("seconds_ago", [-3600, 0, 1e6])  # clocks differ
def test_f29_on_another_host_a_heartbeat_that_moves_is_alive(
  tmp_path, impatient, monkeypatch, fields, seconds_ago
):
  _write(tmp_path, seconds_ago, host="far", machine="far", **fields)
  before = _lock(tmp_path).stat().st_mtime_ns
  with locks.acquire(tmp_path):
    pass
  _write(tmp_path, seconds_ago, host="far", machine="far", **fields)
  sleep = time.sleep

  def beat(seconds):
    os.utime(_lock(tmp_path), ns=(before + 1, before + 1))
    sleep(seconds)

  monkeypatch.setattr(locks.time, "sleep", beat)
  with pytest.raises(errors.ConfigError, match="on far, which gave a sign"):
    with locks.acquire(tmp_path):
      pass


def test_f29_a_wait_for_another_host_ends_at_a_signal(tmp_path):
  _write(tmp_path, host="far", machine="far")
  with pytest.raises(errors.PreemptedError, match="SIGTERM: stopped while"):
    with locks.acquire(tmp_path, lambda: "SIGTERM"):
      pass


def test_f29_a_lock_that_is_released_while_it_is_watched_is_taken(
  tmp_path, monkeypatch
):
  _write(tmp_path, host="far", machine="far")
  monkeypatch.setattr(
    locks.time, "sleep", lambda seconds: _lock(tmp_path).unlink()
  )
  with locks.acquire(tmp_path):
    pass


@pytest.mark.parametrize("content", ["", '{"tok', '{"token": "../../x"}'])
def test_f29_an_unfinished_lock_is_no_holder(tmp_path, impatient, content):
  _lock(tmp_path).write_text(content)
  with locks.acquire(tmp_path):
    pass
  assert not list(tmp_path.iterdir())


def test_f29_a_lock_that_is_being_written_is_waited_for(tmp_path, monkeypatch):
  _lock(tmp_path).write_text("")
  monkeypatch.setattr(locks.time, "sleep", lambda seconds: _write(tmp_path))
  with pytest.raises(errors.ConfigError, match=f"process {os.getpid()} on"):
    with locks.acquire(tmp_path):
      pass


def test_a_disk_that_is_full_at_the_start_leaves_no_lock(tmp_path, monkeypatch):
  def full(path, *_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(errors.ConfigError, match="No space left"):
      with locks.acquire(tmp_path):
        pass
  assert not list(tmp_path.iterdir())
  with locks.acquire(tmp_path):
    pass


def test_a_file_system_without_hard_links_has_locks_too(tmp_path, monkeypatch):
  def refuse(*_):
    raise PermissionError("no links here")

  monkeypatch.setattr(os, "link", refuse)
  with locks.acquire(tmp_path) as lock:
    lock.check()
    with pytest.raises(errors.ConfigError, match="in use by process"):
      with locks.acquire(tmp_path):
        pass


def test_f29_of_many_that_take_over_one_wins(tmp_path):
  _write(tmp_path, started="12")  # of a process that has ended
  racers = [_process(_RACER, tmp_path) for _ in range(6)]
  assert [_line(p) for p in racers] == ["ready"] * 6
  (tmp_path / "go").touch()
  said = []
  for process in racers:
    while (word := _line(process)) not in ("refused", "won"):
      assert "is gone" in word  # whose lock was taken over
    said.append(word)
  assert sorted(said) == ["refused"] * 5 + ["won"]
  (tmp_path / "end").touch()
  for process in racers:
    process.communicate(timeout=60)
  assert sorted(os.listdir(tmp_path)) == ["end", "go"]


def test_f29_a_take_over_that_died_is_taken_over_itself(tmp_path):
  _write(tmp_path, started="12", token="t1")
  _lock(tmp_path).rename(tmp_path / "lock.json.t0")  # the claim on t0
  _write(tmp_path, started="12", token="t0")
  with locks.acquire(tmp_path):
    assert os.listdir(tmp_path) == ["lock.json"]


def test_f29_one_of_many_threads_wins_whatever_the_order(tmp_path):
  for i in range(20):
    workdir = tmp_path / str(i)
    workdir.mkdir()
    _write(workdir, started="12")
    won, ready = [], threading.Barrier(4)

    def take(workdir=workdir, won=won, ready=ready):
      ready.wait()
      try:
        won.append(locks._acquire(_lock(workdir), lambda: None))
      except errors.ConfigError:
        pass

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    assert len(won) == 1
    assert json.loads(_lock(workdir).read_text())["token"] == won[0]


def test_the_lock_beats_and_is_released_on_every_exit(tmp_path, monkeypatch):
  monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
  with pytest.raises(KeyboardInterrupt):
    with locks.acquire(tmp_path):
      os.utime(_lock(tmp_path), (0, 0))
      limit = time.monotonic() + 20
      while _lock(tmp_path).stat().st_mtime < 1:
        assert time.monotonic() < limit
        time.sleep(0.01)
      raise KeyboardInterrupt
  assert not list(tmp_path.iterdir())


def test_who_has_lost_the_lock_notices_and_leaves_it_alone(tmp_path):
  with locks.acquire(tmp_path) as lock:
    lock.check()
    _write(tmp_path, host="far", machine="far", pid=7)
    with pytest.raises(locks.LostError, match="process 7 on far"):
      lock.check()
  assert json.loads(_lock(tmp_path).read_text())["pid"] == 7


def test_f29_a_lock_that_is_gone_is_lost(tmp_path):
  with locks.acquire(tmp_path) as lock:
    _lock(tmp_path).unlink()
    with pytest.raises(locks.LostError, match="is gone"):
      lock.check()
  with locks.acquire(tmp_path) as lock:  # and so is one that is damaged
    _lock(tmp_path).write_text("")
    with pytest.raises(locks.LostError, match="taken over by another process"):
      lock.check()
  assert (tmp_path / locks.NAME).exists()  # it is not ours to delete


def test_a_workdir_that_cannot_be_locked_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(
    errors.ConfigError, match=r"--workdir=.*cannot be written"
  ):
    with locks.acquire(tmp_path / "file" / "run"):
      pass
