"""Frames decoded once, on disk as uint8: for runs without random crops."""

import hashlib
import io
import os
import pathlib
import shutil
import sys
from collections.abc import Callable

import cv2
import numpy as np

from rethink import errors
from rethink.pipeline import decoding
from rethink.storage import files

_VERSION = 1  # of the pixels that `frames` makes of an image
_CHUNK = 1024  # frames between two marks of what is done


class Cached:
  """(rows, epoch) -> uint8[n, height, width, channels], from a file.

  What is not in the page cache of the system is read from disk.
  """

  def __init__(self, path: pathlib.Path):
    """For a file that `open_cache` has made.

    Raises:
      DataError: if it is damaged.
    """
    self._path = path
    try:
      self._frames = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
      raise errors.DataError(f"{path} is damaged; delete it") from error

  def __call__(self, rows: np.ndarray, epoch: int) -> np.ndarray:
    del epoch
    return self._frames[rows]

  def __reduce__(self):  # a worker process maps the file itself
    return Cached, (self._path,)


def open_cache(
  decoded: decoding.Decoded,
  directory: str,
  stopped: Callable[[], bool] = lambda: False,
) -> Cached | None:
  """Frames of a split from `directory`, decoded now if they are not there.

  One file per data set, split, subset and frame, whole or not at all. Of the
  processes of a machine that need it, one makes it; one that was interrupted is
  gone on with.

  Args:
    decoded: what makes the frames.
    directory: where the file lies.
    stopped: looked at now and then.

  Returns:
    The frames; None if stopped before all were there.

  Raises:
    ConfigError: if the frames are random.
    DataError: if an image is damaged, or the disk is too small.
  """
  frame, split = decoded.frame, decoded.split
  if frame.words:
    raise errors.ConfigError(f"{frame} differs each time and cannot be cached")
  key = hashlib.blake2b(digest_size=8)
  key.update(f"{_VERSION} {cv2.__version__} {split.info.fingerprint}".encode())
  key.update(f"{split.name} {frame!r}".encode())
  key.update(np.ascontiguousarray(split.entries.id).data)
  root = pathlib.Path(directory).expanduser()
  path = root / f"{split.info.name}-{split.name}-{key.hexdigest()}.npy"
  try:
    root.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      lock = path.with_suffix(".lock")
      with files.lock(lock, f"makes {path}", stopped) as held:
        done = path.exists() or (held and _make(decoded, path, stopped))
        if not done:
          return None
  except OSError as error:
    raise errors.DataError(f"cannot write {path}: {error}") from error
  return Cached(path)


def _make(
  decoded: decoding.Decoded, path: pathlib.Path, stopped: Callable[[], bool]
) -> bool:
  partial, mark = path.with_suffix(".partial"), path.with_suffix(".done")
  n, frame = len(decoded.split.entries.id), int(np.prod(decoded.frame.shape))
  header = _header((n, *decoded.frame.shape))
  done = _done(partial, mark, header, frame)
  size, free = (n - done) * frame, shutil.disk_usage(path.parent).free
  if size > free:
    raise errors.DataError(
      f"{path} takes {size / 1e9:.1f} GB, its disk has {free / 1e9:.1f} GB free"
    )
  print(
    f"rethink: decoding {n - done} images once into {path},"
    f" {size / 1e9:.1f} GB",
    file=sys.stderr,
    flush=True,
  )
  # Not by a mapping: a disk that fills up would end the process.
  with partial.open("r+b" if done else "wb") as file:
    file.write(header)
    file.seek(len(header) + done * frame)
    for start in range(done, n, _CHUNK):
      if stopped():
        return False
      rows = np.arange(start, min(start + _CHUNK, n))
      file.write(decoded(rows, 0).data)
      file.flush()
      os.fsync(file.fileno())
      files.write(mark, str(rows[-1] + 1))
  os.replace(partial, path)
  mark.unlink(missing_ok=True)
  return True


def _header(shape: tuple[int, ...]) -> bytes:
  """What an .npy file of uint8[shape] begins with."""
  buffer = io.BytesIO()
  facts = {"descr": "|u1", "fortran_order": False, "shape": shape}
  np.lib.format.write_array_header_1_0(buffer, facts)
  return buffer.getvalue()


def _done(
  partial: pathlib.Path, mark: pathlib.Path, header: bytes, frame: int
) -> int:
  """How many frames a process that was interrupted has left."""
  try:
    with partial.open("rb") as file:
      same = file.read(len(header)) == header
    done = int(mark.read_text())
    whole = partial.stat().st_size >= len(header) + done * frame
    return done if same and whole else 0
  except (OSError, ValueError):
    return 0
