"""Small files, written atomically and durably; errors name the file."""

import contextlib
import errno
import fcntl
import io
import json
import os
import pathlib
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rethink import errors

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_POLL_SECONDS = 0.2  # a blocking flock would not notice a stop request


def write(path: pathlib.Path, content: str | bytes) -> None:
  """Replaces the content of a file, completely or not at all.

  If several processes write at the same time, one of them wins.

  Raises:
    RethinkError: if the file cannot be written; the message names it.
  """
  partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
  with explaining_errors(path):
    try:
      with open(partial, "wb") as f:
        f.write(content.encode() if isinstance(content, str) else content)
        f.flush()
        os.fsync(f.fileno())  # survive a crash of the machine after the rename
      os.replace(partial, path)
    finally:
      partial.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes a JSON file as `write` does."""
  write(path, json.dumps(value, indent=2) + "\n")


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes a compressed .npz file as `write` does."""
  content = io.BytesIO()
  values: dict[str, Any] = dict(arrays)
  np.savez_compressed(content, **values)
  write(path, content.getvalue())


def append(path: pathlib.Path, line: str) -> None:
  """Appends a line durably; a failure may leave a part of the line.

  Raises:
    RethinkError: if the file cannot be written; the message names it.
  """
  with explaining_errors(path), open(path, "a", encoding="utf-8") as f:
    f.write(line)
    f.flush()
    os.fsync(f.fileno())


@contextlib.contextmanager
def lock(
  path: pathlib.Path, work: str, stopped: Callable[[], bool] = lambda: False
) -> Iterator[bool]:
  """Holds a lock between the processes of one machine.

  The kernel releases the lock when its process ends in any way, so it never
  goes stale. The empty file stays, because removing it would race with a
  process that waits for it.

  Args:
    path: the lock file.
    work: what the holder does, such as "prepares ...", for the message to those
      who wait.
    stopped: returns whether to give up waiting.

  Yields:
    Whether the lock is held; False if `stopped` ended the wait.
  """
  told = False
  with path.open("a", encoding="utf-8") as file:
    while True:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      except BlockingIOError:
        if not told:
          print(
            f"rethink: waiting for another process that {work}",
            file=sys.stderr,
            flush=True,
          )
          told = True
      if stopped():
        yield False
        return
      time.sleep(_POLL_SECONDS)
    yield True


def read_arrays(
  path: pathlib.Path, names: Iterable[str] = ()
) -> dict[str, np.ndarray]:
  """Reads the named arrays, each [n], of an .npz file; by default all of them.

  Raises:
    ConfigError: if the file cannot be read, lacks one of the arrays, or their
      lengths differ.
  """
  try:
    # Opened here, because NumPy would leave a damaged file open.
    with path.open("rb") as file, np.load(file) as arrays:
      found = {name: arrays[name] for name in names or arrays.files}
    if {x.ndim for x in found.values()} - {1}:
      raise ValueError("not all arrays have one axis")
    if len({len(x) for x in found.values()}) > 1:
      raise ValueError("the arrays have different lengths")
    return found
  except Exception as error:  # damage meets zipfile, zlib and NumPy anywhere
    raise errors.ConfigError(
      f"{path} cannot be read ({errors.reason(error)}); delete it"
    ) from None


def make_folder(path: pathlib.Path) -> pathlib.Path:
  """Creates a folder, with its parents, unless it is there; returns it.

  Raises:
    RethinkError: if it cannot be made; the message names it.
  """
  with explaining_errors(path):
    path.mkdir(parents=True, exist_ok=True)
  return path


def advice(error: BaseException | None) -> str:
  """Returns what to do about an error of writing."""
  seen: list[BaseException] = []
  while error is not None and error not in seen:
    seen.append(error)
    error = error.__cause__ or error.__context__
  full = any(
    (isinstance(e, OSError) and e.errno in _FULL)
    or any(os.strerror(number) in str(e) for number in _FULL)
    for e in seen
  )
  remedy = "make room" if full else "remove the cause"
  return f"{remedy} and run the same command again"


@contextlib.contextmanager
def explaining_errors(path: pathlib.Path) -> Iterator[None]:
  """Turns an OSError about a file into a RethinkError that names it."""
  try:
    yield
  except OSError as error:
    raise errors.RethinkError(
      f"{path} cannot be written: {error.strerror}; {advice(error)}"
    ) from error


@contextlib.contextmanager
def explaining_saves(root: pathlib.Path) -> Iterator[None]:
  """Turns whatever saving a state raises into a RethinkError with advice."""
  try:
    yield
  except errors.ConfigError:
    raise
  except errors.RethinkError as error:  # which says what to do
    raise errors.RethinkError(
      f"a checkpoint could not be saved in {root}: {error}"
    ) from error
  except Exception as error:  # of any layer between Orbax and the disk
    raise errors.RethinkError(
      f"a checkpoint could not be saved in {root}: {errors.reason(error)};"
      f" {advice(error)}"
    ) from error
