"""The lock of a run directory: lock.json, with its holder and a heartbeat.

flock would be simpler, but on a shared file system it may have no effect on
other machines, and it does not say who holds the lock. Exclusive creation and
a renewed modification time work on every file system.
"""

import contextlib
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from rethink import errors

NAME = "lock.json"
HEARTBEAT_SECONDS = 10.0
# A holder on another machine counts as dead after so long without a heartbeat.
STALE_SECONDS = 60.0
_FIELDS = ("token", "host", "machine", "pid", "started")


class LostError(errors.RethinkError):
  """Another process has taken over the run directory."""


class Lock:
  """A lock that this process holds."""

  def __init__(self, path: pathlib.Path, token: str):
    self._path, self._token = path, token

  def check(self) -> None:
    """Checks that no other process has taken the lock over.

    Raises:
      LostError: if one has, after this process sent no heartbeat for too long.
    """
    holder = _read(self._path)
    if holder["token"] not in (self._token, ""):
      raise LostError(
        f"{self._path.parent} was taken over by {_describe(holder)} while this"
        " process did not respond; this process stops"
      )


@contextlib.contextmanager
def acquire(workdir: str | os.PathLike) -> Iterator[Lock]:
  """Holds the lock of a run directory, which is created if it is missing.

  Raises:
    ConfigError: if another process holds the lock, or if the directory cannot
      be written.
  """
  path = pathlib.Path(workdir).absolute() / NAME
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    token = _acquire(path)
  except OSError as error:
    raise errors.ConfigError(
      f"--workdir={workdir} cannot be written: {error.strerror}"
    ) from None
  lock, stop = Lock(path, token), threading.Event()
  beat = threading.Thread(target=_beat, args=(lock, path, stop), daemon=True)
  beat.start()
  try:
    yield lock
  finally:
    stop.set()
    beat.join()
    _release(path, token)


def _beat(lock: Lock, path: pathlib.Path, stop: threading.Event) -> None:
  while not stop.wait(HEARTBEAT_SECONDS):
    # The lock may be lost, which `check` reports to the run, or the file system
    # may be unreachable for a while.
    with contextlib.suppress(LostError, OSError):
      lock.check()
      os.utime(path)


def _acquire(path: pathlib.Path) -> str:
  """Creates the lock or takes over a stale one; returns its token."""
  token = uuid.uuid4().hex[:8]
  text = json.dumps({"token": token, **_this_process()})
  try:
    with open(path, "x", encoding="utf-8") as f:
      f.write(text)
    return token
  except FileExistsError:
    pass
  holder = _read(path)
  if not _is_stale(path, holder):
    raise errors.ConfigError(
      f"{path.parent} is in use by {_describe(holder)}, last seen"
      f" {max(0, _age(path)):.0f} s ago; wait for it, stop it, or give another"
      f" --workdir (the lock of a process that died on another host is free"
      f" after {STALE_SECONDS:.0f} s)"
    )
  # Several processes may find the same stale lock. Only the one that holds the
  # claim on this token may replace it. The claim is a lock itself, so that one
  # left by a process that died here is taken over in the same way.
  claim = path.with_name(f"{path.name}.{holder['token']}")
  claim_token = _acquire(claim)
  try:
    if _read(path)["token"] != holder["token"]:
      raise errors.ConfigError(
        f"another process has just taken over {path.parent}; wait for it, or"
        " give another --workdir"
      )
    partial = claim.with_name(f"{claim.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
  finally:
    _release(claim, claim_token)
  print(
    f"{path}: taken over from {_describe(holder)}, which is gone", flush=True
  )
  return token


def _release(path: pathlib.Path, token: str) -> None:
  with contextlib.suppress(OSError):
    if _read(path)["token"] == token:
      path.unlink()


def _is_stale(path: pathlib.Path, holder: dict[str, Any]) -> bool:
  me = _this_process()
  if holder["machine"] == me["machine"] and me["machine"]:
    return _start_time(holder["pid"]) != holder["started"]
  return _age(path) > STALE_SECONDS


def _age(path: pathlib.Path) -> float:
  """Returns seconds since the last heartbeat, by the file system's clock."""
  probe = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.probe")
  probe.touch()
  try:
    return probe.stat().st_mtime - path.stat().st_mtime
  except FileNotFoundError:
    return 0.0
  finally:
    probe.unlink()


def _read(path: pathlib.Path) -> dict[str, Any]:
  """Reads the holder; fields are "" if the file is incomplete or missing."""
  holder: dict[str, Any] = dict.fromkeys(_FIELDS, "")
  with contextlib.suppress(OSError, ValueError, TypeError):
    holder.update(json.loads(path.read_text(encoding="utf-8")))
  return holder


def _describe(holder: dict[str, Any]) -> str:
  return f"process {holder['pid'] or '?'} on {holder['host'] or 'some host'}"


def _this_process() -> dict[str, Any]:
  return {
    "host": socket.gethostname(),
    "machine": _machine(),
    "pid": os.getpid(),
    "started": _start_time(os.getpid()),
    "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
  }


def _machine() -> str:
  """Returns a name for the set of processes in which a pid is unique.

  A host name is not enough: containers may share it, and after a reboot pids
  are used again. "" if this is unknown.
  """
  try:
    boot = (
      pathlib.Path("/proc/sys/kernel/random/boot_id")
      .read_text(encoding="utf-8")
      .strip()
    )
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return ""


def _start_time(pid: int) -> str:
  """Returns the start time of a process in ticks since boot; "" if it ended."""
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
  except OSError:
    return ""
  fields = stat.rpartition(")")[2].split()
  return "" if fields[0] in "ZX" else fields[19]  # a zombie is dead
