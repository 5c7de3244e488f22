"""Splits that stay on disk, as corruptions of labels see them."""

import sys
from collections.abc import Callable

import numpy as np

from rethink import errors, example
from rethink.corrupting import kinds
from rethink.pipeline import decoding

_TOGETHER = 256  # images that are read between two looks at a stop


def split(
  used: decoding.Split, stored: decoding.Split, *, training: bool
) -> example.Split:
  """Returns the facts of a split that corruptions of labels may use.

  Args:
    used: the examples that the run uses.
    stored: all examples of the split.
    training: whether the run trains on the split.
  """

  def names(ids: np.ndarray) -> list[str]:
    return stored.names(np.searchsorted(stored.entries.id, ids))

  return example.Split(
    used.name,
    training,
    used.entries.id,
    used.entries.label,
    stored.entries.id,
    names,
  )


def read_once(
  images: Callable[[np.ndarray, int], np.ndarray], stopped: Callable[[], bool]
) -> kinds.Images:
  """Returns a reader for corruptions of labels that ask for all images.

  Raises:
    PreemptedError: if stopped.
  """

  def some(rows: np.ndarray) -> np.ndarray:
    if stopped():
      raise errors.PreemptedError(
        "stopped while all images were read once, because a corruption of"
        " labels asks for them; the same command starts over"
      )
    return images(rows, 0)

  def read(rows: np.ndarray) -> np.ndarray:
    if not rows[0]:
      print(
        "rethink: a corruption of labels asks for images: all of the split are"
        " read once, at every start",
        file=sys.stderr,
        flush=True,
      )
    parts = np.array_split(rows, -(-len(rows) // _TOGETHER))
    return np.concatenate([some(part) for part in parts])

  return read
