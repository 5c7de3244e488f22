"""Small files, written atomically and durably; errors name the file."""

import contextlib
import fcntl
import io
import json
import os
import pathlib
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rethink import errors

_POLL_SECONDS = 0.2  # a blocking flock would not notice a stop request


def write(path: pathlib.Path, content: str | bytes) -> None:
  """Replaces the content of a file, completely or not at all.

  If several processes write at the same time, one of them wins.

  Raises:
    RethinkError: if the file cannot be written; the message names it.
  """
  partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
  with _explaining_errors(path):
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
  with _explaining_errors(path), open(path, "a", encoding="utf-8") as f:
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


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Reads a JSON object; returns {} if there is no such file.

  Raises:
    ConfigError: if the file is not valid JSON.
  """
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    return {}
  except json.JSONDecodeError as error:
    raise errors.ConfigError(
      f"{path} is not valid JSON ({error}); restore it, or give another"
      " --workdir"
    ) from None


def read_arrays(
  path: pathlib.Path, names: Iterable[str] = ()
) -> dict[str, np.ndarray]:
  """Reads the named arrays of an .npz file; by default all of them.

  Raises:
    ConfigError: if the file cannot be read, or lacks one of the arrays.
  """
  try:
    with np.load(path) as arrays:
      return {name: arrays[name] for name in names or arrays.files}
  except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise errors.ConfigError(
      f"{path} cannot be read ({error}); delete it"
    ) from None


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
  """Reads one JSON object per line; returns [] if there is no such file.

  An incomplete last line, as a killed process leaves it, is left out.

  Raises:
    ConfigError: if another line is not valid JSON.
  """
  rows = []
  lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
  for number, line in enumerate(lines, 1):
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      if number < len(lines):
        raise errors.ConfigError(
          f"{path}:{number} is not valid JSON; restore the file, or give"
          " another --workdir"
        ) from None
  return rows


@contextlib.contextmanager
def _explaining_errors(path: pathlib.Path):
  try:
    yield
  except OSError as error:
    raise errors.RethinkError(
      f"{path} cannot be written: {error.strerror}; make room and run the same"
      " command again"
    ) from error
