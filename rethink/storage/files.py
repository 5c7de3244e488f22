"""Small files: whole or not at all, durable, and faults that name them."""

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

_POLL_SECONDS = 0.2  # flock itself would wait through signals


def write(path: pathlib.Path, content: str | bytes) -> None:
  """Puts a content in place of a file's, whole or not at all.

  Of several processes that write it at once one wins.

  Raises:
    RethinkError: naming the file, if the disk refuses.
  """
  partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
  with _explaining_errors(path):
    try:
      with open(partial, "wb") as f:
        f.write(content.encode() if isinstance(content, str) else content)
        f.flush()
        os.fsync(f.fileno())  # also when the machine dies after the next line
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
  """Appends a line and makes it durable; a failure may leave a part of it.

  Raises:
    RethinkError: naming the file, if the disk refuses.
  """
  with _explaining_errors(path), open(path, "a") as f:
    f.write(line)
    f.flush()
    os.fsync(f.fileno())


@contextlib.contextmanager
def lock(
  path: pathlib.Path, work: str, stopped: Callable[[], bool] = lambda: False
) -> Iterator[bool]:
  """Waits for the process of this machine that holds the lock file `path`.

  The kernel releases the lock of a process that ends in whatever way, so none
  is ever stale. The empty file stays: to remove it would race with a waiter.

  Args:
    path: of the file.
    work: what its holder does, "prepares ..." say; for who waits.
    stopped: looked at while waiting.

  Yields:
    Whether it is held: False if stopped before.
  """
  told = False
  with path.open("a") as file:
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
  """An object; {} if there is no such file.

  Raises:
    ConfigError: if it is no JSON.
  """
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    return {}
  except json.JSONDecodeError as error:
    raise errors.ConfigError(
      f"{path} is no JSON ({error}); restore it or use another --workdir"
    ) from None


def read_arrays(
  path: pathlib.Path, names: Iterable[str] = ()
) -> dict[str, np.ndarray]:
  """Arrays of an .npz file: those that are named, by default all.

  Raises:
    ConfigError: if it cannot be read, or has not all of them.
  """
  try:
    with np.load(path) as arrays:
      return {name: arrays[name] for name in names or arrays.files}
  except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise errors.ConfigError(
      f"{path} cannot be read ({error}); delete it"
    ) from None


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
  """An object per line; a torn last one is left out, [] if there is no file.

  Raises:
    ConfigError: if another line is no JSON.
  """
  rows = []
  lines = path.read_text().splitlines() if path.exists() else []
  for number, line in enumerate(lines, 1):
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      if number < len(lines):
        raise errors.ConfigError(f"{path}:{number} is no JSON") from None
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
