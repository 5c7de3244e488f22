"""F29: two trainers in one run directory; locks of processes that are gone."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

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
  holder = {"token": "t0", **locks._this_process(), **fields}
  _lock(workdir).write_text(json.dumps(holder))
  then = time.time() - seconds_ago
  os.utime(_lock(workdir), (then, then))


def test_f29_a_second_trainer_is_refused_by_name(tmp_path, holder):
  with pytest.raises(errors.ConfigError) as caught:
    with locks.acquire(tmp_path):
      pass
  message = str(caught.value)
  assert f"process {holder.pid} on {os.uname().nodename}" in message
  assert "last seen" in message
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


@pytest.mark.parametrize("fields", [{}, {"pid": 2**22 + 1}])
def test_f29_on_another_host_the_heartbeat_decides(tmp_path, fields):
  _write(tmp_path, 50, host="far", machine="far", **fields)
  with pytest.raises(errors.ConfigError, match="on far, last seen 5"):
    with locks.acquire(tmp_path):
      pass
  _write(tmp_path, locks.STALE_SECONDS + 5, host="far", machine="far", **fields)
  with locks.acquire(tmp_path):
    pass


def test_f29_a_torn_lock_is_held_until_it_is_old(tmp_path):
  _lock(tmp_path).write_text('{"tok')
  with pytest.raises(errors.ConfigError, match="some host"):
    with locks.acquire(tmp_path):
      pass
  os.utime(_lock(tmp_path), (0, 0))
  with locks.acquire(tmp_path):
    pass


def test_f29_of_many_that_take_over_one_wins(tmp_path):
  _write(tmp_path, 1e6, host="far", machine="far")
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
  _write(tmp_path, 1e6, host="far", machine="far", token="t1")
  _lock(tmp_path).rename(tmp_path / "lock.json.t0")  # the claim on t0
  _write(tmp_path, 1e6, host="far", machine="far", token="t0")
  with locks.acquire(tmp_path):
    assert os.listdir(tmp_path) == ["lock.json"]


def test_f29_one_of_many_threads_wins_whatever_the_order(tmp_path):
  for i in range(20):
    workdir = tmp_path / str(i)
    workdir.mkdir()
    _write(workdir, 1e6, host="far", machine="far")
    won, ready = [], threading.Barrier(4)

    def take(workdir=workdir, won=won, ready=ready):
      ready.wait()
      try:
        won.append(locks._acquire(_lock(workdir)))
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


def test_a_workdir_that_cannot_be_locked_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(
    errors.ConfigError, match=r"--workdir=.*cannot be written"
  ):
    with locks.acquire(tmp_path / "file" / "run"):
      pass
