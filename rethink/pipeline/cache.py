"""Frames decoded once, on disk as uint8: for runs without random crops."""

import concurrent.futures
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator

import numpy as np

from rethink import errors
from rethink.pipeline import stream

_CHUNK = 64  # frames that a thread decodes at a time


class Cached:
  """(rows, epoch) -> uint8[n, height, width, channels], from a file.

  What is not in the page cache of the system is read from disk.
  """

  def __init__(self, path: pathlib.Path):
    """For a file that `open_cache` has made."""
    self._path = path
    self._frames = np.load(path, mmap_mode="r")

  def __call__(self, rows: np.ndarray, epoch: int) -> np.ndarray:
    del epoch
    return self._frames[rows]

  def __reduce__(self):  # a worker process maps the file itself
    return Cached, (self._path,)


def open_cache(decoded: stream.Decoded, directory: str) -> Cached:
  """Frames of a split from `directory`, decoded now if they are not there.

  One file per data set, split, subset and frame, whole or not at all. Of the
  processes of a machine that need it, one makes it.

  Args:
    decoded: what makes the frames.
    directory: where the file lies.

  Raises:
    ConfigError: if the frames are random.
    DataError: if an image is damaged, or the disk is too small.
  """
  frame, split = decoded.frame, decoded.split
  if frame.words:
    raise errors.ConfigError(f"{frame} differs each time and cannot be cached")
  shape = (len(split.entries.id), *frame.shape)
  key = hashlib.blake2b(digest_size=8)
  key.update(f"{split.info.fingerprint} {split.name} {frame!r}".encode())
  key.update(np.ascontiguousarray(split.entries.id).data)
  root = pathlib.Path(directory).expanduser()
  path = root / f"{split.info.name}-{split.name}-{key.hexdigest()}.npy"
  try:
    root.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      with _held(path.with_suffix(".lock")):
        if not path.exists():
          _make(decoded, path, shape)
  except OSError as error:
    raise errors.DataError(f"cannot write {path}: {error}") from error
  return Cached(path)


def _make(
  decoded: stream.Decoded, path: pathlib.Path, shape: tuple[int, ...]
) -> None:
  partial = path.with_suffix(".partial")
  partial.unlink(missing_ok=True)  # of a process that was killed
  size, free = int(np.prod(shape)), shutil.disk_usage(path.parent).free
  if size > free:
    raise errors.DataError(
      f"{path} takes {size / 1e9:.1f} GB, its disk has {free / 1e9:.1f} GB free"
    )
  print(
    f"rethink: decoding {shape[0]} images once into {path},"
    f" {size / 1e9:.1f} GB",
    file=sys.stderr,
    flush=True,
  )
  frames = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)

  def fill(start: int) -> None:
    rows = np.arange(start, min(start + _CHUNK, shape[0]))
    frames[rows[0] : rows[-1] + 1] = decoded(rows, 0)

  with concurrent.futures.ThreadPoolExecutor() as pool:
    for _ in pool.map(fill, range(0, shape[0], _CHUNK)):
      pass
  frames.flush()
  os.replace(partial, path)


@contextlib.contextmanager
def _held(path: pathlib.Path) -> Iterator[None]:
  """Waits for whoever works on it; the kernel frees the lock of a dead one."""
  with path.open("a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
