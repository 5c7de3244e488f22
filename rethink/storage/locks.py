"""The lock of a run directory: lock.json, with its holder and a heartbeat.

flock would be simpler, but on a shared file system it may have no effect on
other machines, and it does not say who holds the lock. Exclusive creation and
a renewed modification time work on every file system. Clocks do not agree
between machines, so that a heartbeat is judged by whether it moves while this
process watches, not by its date.
"""

import contextlib
import json
import os
import pathlib
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import msgspec

from rethink import errors
from rethink.storage import record_types, schema

NAME = schema.LOCK
HEARTBEAT_SECONDS = 10.0
# A holder on another machine counts as dead after so long without a heartbeat.
STALE_SECONDS = 60.0
# An unfinished lock file is looked at for so long: on file systems without hard
# links another process may be writing it.
UNFINISHED_SECONDS = 2.0
_POLLS = 60  # looks at a lock while it is watched


class LostError(errors.RethinkError):
  """Another process has taken over the run directory."""


class Lock:
  """A lock that this process holds."""

  def __init__(self, path: pathlib.Path, token: str):
    self._path, self._token = path, token

  def check(self) -> None:
    """Checks that this process still holds the lock.

    Raises:
      LostError: if it is gone or another's, after this process sent no
        heartbeat for too long.
    """
    where = self._path.parent
    try:
      holder = schema.lock(self._path)
    except FileNotFoundError:
      raise LostError(
        f"{self._path} is gone: another process has had {where}, or somebody"
        " deleted the file; this process stops, run the same command again"
      ) from None
    except OSError:
      return  # unreachable for a while; what is written next says so
    if holder is None or holder.token != self._token:
      raise LostError(
        f"{where} was taken over by {describe(holder)} while this process did"
        " not respond; this process stops"
      )

  def release(self) -> None:
    """Deletes the lock file, if the lock is still held."""
    _release(self._path, self._token)


@contextlib.contextmanager
def acquire(
  workdir: str | os.PathLike, stopped: Callable[[], str | None] = lambda: None
) -> Iterator[Lock]:
  """Holds the lock of a run directory, which is created if it is missing.

  The lock of another machine is watched, for STALE_SECONDS at most.

  Args:
    workdir: the run directory.
    stopped: returns the name of a signal that ends the wait, or None.

  Raises:
    ConfigError: if another process holds the lock, or if the directory cannot
      be written.
    PreemptedError: if stopped.
  """
  path = pathlib.Path(workdir).absolute() / NAME
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    token = _acquire(path, stopped)
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
    try:
      lock.check()
      os.utime(path)
    except LostError:
      return  # `check` reports it to the run
    except OSError:
      continue  # the file system may be unreachable for a while


def _acquire(path: pathlib.Path, stopped: Callable[[], str | None]) -> str:
  """Creates the lock or takes over a stale one; returns its token."""
  mine = this_process()
  if _create(path, mine):
    return mine.token
  try:
    holder = _await_death(path, stopped)
  except FileNotFoundError:  # released meanwhile
    return _acquire(path, stopped)
  # Several processes may find the same stale lock. Only the one that holds the
  # claim on this token may replace it. The claim is a lock itself, so that one
  # left by a process that died here is taken over in the same way.
  claim = path.with_name(f"{path.name}.{holder.token if holder else 'torn'}")
  claim_token = _acquire(claim, stopped)
  try:
    if schema.lock(path) != holder:
      raise errors.ConfigError(
        f"another process has just taken over {path.parent}; wait for it, or"
        " give another --workdir"
      )
    partial = claim.with_name(f"{claim.name}.partial")
    partial.write_text(text(mine), encoding="utf-8")
    os.replace(partial, path)
  finally:
    _release(claim, claim_token)
  print(
    f"{path}: taken over from {describe(holder)}, which is gone", flush=True
  )
  return mine.token


def _create(path: pathlib.Path, lock: record_types.Lock) -> bool:
  """Creates the lock file with its content; returns False if there is one."""
  partial = path.with_name(f"{path.name}.{lock.token}.partial")
  try:
    partial.write_text(text(lock), encoding="utf-8")
    try:
      os.link(partial, path)
    except FileExistsError:
      return False
    except OSError:  # a file system without hard links
      try:
        with open(path, "x", encoding="utf-8") as f:
          f.write(text(lock))
      except FileExistsError:
        return False
      except OSError:
        path.unlink(missing_ok=True)
        raise
    return True
  finally:
    with contextlib.suppress(OSError):  # its name says that it is nobody's
      partial.unlink()


def _await_death(
  path: pathlib.Path, stopped: Callable[[], str | None]
) -> record_types.Lock | None:
  """Returns the holder of a lock once it counts as dead.

  Raises:
    ConfigError: if it is alive.
    FileNotFoundError: if the lock is gone.
    PreemptedError: if stopped.
  """
  holder, told = schema.lock(path), False
  seen, began = path.stat().st_mtime_ns, time.monotonic()
  while True:
    alive = f"{path.parent} is in use by {describe(holder)}"
    patience = STALE_SECONDS if holder else UNFINISHED_SECONDS
    if holder and holder.machine and holder.machine == _machine():
      if _start_time(holder.pid) != holder.started:
        return holder
      since = f", since {holder.since}" if holder.since else ""
      raise errors.ConfigError(
        f"{alive}{since}; wait for it, stop it, or give another --workdir"
      )
    if time.monotonic() - began > patience:
      return holder
    if holder and not told:
      print(
        f"rethink: {path.parent} was left locked by {describe(holder)};"
        f" waiting up to {patience:.0f} s for a sign of life",
        file=sys.stderr,
        flush=True,
      )
      told = True
    if name := stopped():
      raise errors.PreemptedError(
        f"{name}: stopped while waiting for {path}; nothing has begun, run the"
        " same command again"
      )
    time.sleep(patience / _POLLS)
    now, current = path.stat().st_mtime_ns, schema.lock(path)
    if (now, current) == (seen, holder):
      continue
    if holder is None and current is not None:  # it has been finished
      holder, seen, began = current, now, time.monotonic()
      continue
    raise errors.ConfigError(
      f"{alive}, which gave a sign of life just now; wait for it, stop it, or"
      f" give another --workdir (the lock of a process that died on another"
      f" host is free after {STALE_SECONDS:.0f} s)"
    )


def _release(path: pathlib.Path, token: str) -> None:
  with contextlib.suppress(OSError):
    holder = schema.lock(path)
    if holder and holder.token == token:
      path.unlink()


def text(lock: record_types.Lock) -> str:
  """Returns the content of a lock file."""
  return json.dumps(msgspec.structs.asdict(lock))


def describe(holder: record_types.Lock | None) -> str:
  """Returns who holds a lock; None is one that does not say."""
  if holder is None:
    return "another process"
  return f"process {holder.pid} on {holder.host or 'some host'}"


def this_process() -> record_types.Lock:
  """Returns a new lock of this process."""
  return record_types.Lock(
    token=uuid.uuid4().hex[:8],
    host=socket.gethostname(),
    pid=os.getpid(),
    machine=_machine(),
    started=_start_time(os.getpid()),
    since=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
  )


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
