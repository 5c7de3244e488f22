"""A cache on disk of decoded images, for runs without random crops."""

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

_VERSION = 1  # to be raised when `crops` makes other pixels from an image
_CHUNK = 1024  # frames written between two records of the progress


class Cached:
  """Reads frames from a cache file: (rows, epoch) -> uint8[n, h, w, channels].

  The file is memory-mapped, so the page cache of the system keeps what fits.
  """

  def __init__(self, path: pathlib.Path):
    """Opens a file that `open_cache` has made.

    Raises:
      DataError: if the file is damaged.
    """
    self._path = path
    try:
      self._frames = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
      raise errors.DataError(
        f"{path} is damaged; delete it, and the next run makes it again"
      ) from error

  def __call__(self, rows: np.ndarray, epoch: int) -> np.ndarray:
    del epoch
    return self._frames[rows]

  def __reduce__(self):  # pickled as its path: every worker maps the file
    return Cached, (self._path,)


def open_cache(
  decoded: decoding.Decoded,
  directory: str,
  stopped: Callable[[], bool] = lambda: False,
) -> Cached | None:
  """Opens the cache of a split's frames; builds it if it does not exist.

  There is one file per data set, split, subset and frame, complete or absent.
  If several processes of a machine need it, one builds it and the others wait.
  An interrupted build is continued.

  Args:
    decoded: makes the frames.
    directory: folder of the cache files.
    stopped: called now and then; the build stops when it returns True.

  Returns:
    The frames; None if stopped before the cache was complete.

  Raises:
    ConfigError: if the frames are random.
    DataError: if an image is damaged, or the disk is too small.
  """
  frame, split = decoded.frame, decoded.split
  if frame.words:
    raise errors.ConfigError(
      f"{frame} differs in every epoch and cannot be cached; remove"
      " config.cache_dir or the random crop"
    )
  # Everything that the pixels depend on: another OpenCV may decode otherwise.
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
      with files.lock(lock, f"makes {path}", stopped) as locked:
        complete = path.exists() or (locked and _build(decoded, path, stopped))
        if not complete:
          return None
  except OSError as error:
    raise errors.DataError(f"cannot write {path}: {error}") from error
  return Cached(path)


def _build(
  decoded: decoding.Decoded, path: pathlib.Path, stopped: Callable[[], bool]
) -> bool:
  """Decodes all frames into the file; returns False if stopped before."""
  partial, mark = path.with_suffix(".partial"), path.with_suffix(".done")
  n, frame = len(decoded.split.entries.id), int(np.prod(decoded.frame.shape))
  header = _header((n, *decoded.frame.shape))
  done = _frames_written(partial, mark, header, frame)
  size, free = (n - done) * frame, shutil.disk_usage(path.parent).free
  if size > free:
    raise errors.DataError(
      f"the cache {path} takes {size / 1e9:.1f} GB, but its disk has only"
      f" {free / 1e9:.1f} GB free; make room, or set config.cache_dir to a"
      " folder on another disk"
    )
  print(
    f"rethink: decoding {n - done} images once into {path},"
    f" {size / 1e9:.1f} GB",
    file=sys.stderr,
    flush=True,
  )
  # Written as a file, not through a memory map: on a full disk a map would kill
  # the process, a write raises an error.
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
  """Returns the header of an .npy file of uint8[shape]."""
  buffer = io.BytesIO()
  facts = {"descr": "|u1", "fortran_order": False, "shape": shape}
  np.lib.format.write_array_header_1_0(buffer, facts)
  return buffer.getvalue()


def _frames_written(
  partial: pathlib.Path, mark: pathlib.Path, header: bytes, frame: int
) -> int:
  """Returns the number of frames that an interrupted build has written."""
  try:
    with partial.open("rb") as file:
      same = file.read(len(header)) == header
    done = int(mark.read_text(encoding="utf-8"))
    long_enough = partial.stat().st_size >= len(header) + done * frame
    return done if same and long_enough else 0
  except (OSError, ValueError):
    return 0
