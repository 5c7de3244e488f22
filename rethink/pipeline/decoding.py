"""The images of a split on disk: records to frames, in threads."""

import concurrent.futures
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rethink import bits, errors, example
from rethink.pipeline import crops, datasets, index, tfds_records

_TOGETHER = 8  # images that a thread decodes in one go


class Split(NamedTuple):
  """One split on disk.

  Attributes:
    name: of the split.
    info: the data set; `shape` is (0, 0, channels).
    entries: what is known of the examples, sorted by id.
    source: the records by position, their images encoded.
    keys: the features of a record.
    skipped: a line for each damaged record of the data set that is left out.
  """

  name: str
  info: example.DatasetInfo
  entries: index.Entries
  source: Any
  keys: tfds_records.Keys
  skipped: tuple[str, ...]

  def take(self, rows: np.ndarray) -> "Split":
    """The split cut to the entries at these rows."""
    return self._replace(entries=self.entries.take(rows))

  def read(self, positions: Sequence[int]) -> list[tuple[int, Any]]:
    """(position, record) of each.

    Raises:
      DataError: if one cannot be read.
    """
    try:
      return tfds_records.rows(self.source, positions, skip_damaged=False)[0]
    except Exception as error:  # whatever ArrayRecord's C++ found
      raise errors.DataError(
        f"cannot read split {self.name!r} of {self.info.name}: {error};"
        f" `python -m rethink.prepare --check {self.info.name}` names the"
        " damaged file"
      ) from error


def open_split(
  name: str,
  data_dir: str,
  split: str,
  *,
  skip_damaged: bool = False,
  stopped: Callable[[], bool] = lambda: False,
) -> Split:
  """A split of a prepared data set; reads its index only.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: the folder that holds `name/version/`.
    split: its name.
    skip_damaged: leave out records that cannot be read or decoded.
    stopped: looked at while the index is made.

  Raises:
    DataError: if the data set is missing or damaged.
    PreemptedError: if stopped.
    ConfigError: if it has no such split.
  """
  known = index.open_index(
    name, data_dir, skip_damaged=skip_damaged, stopped=stopped
  )
  if split not in known.splits:
    raise errors.ConfigError(
      f"{known.info.name} has no split {split!r}; for config.train_split and"
      f" config.test_split there are: {', '.join(known.splits)}"
    )
  directory = datasets.find(name, data_dir)
  with datasets.name_in_errors(name, data_dir, directory):
    builder = datasets.open_builder(directory, data_dir)
    keys = tfds_records.keys(builder.info, directory)
    source = datasets.encoded(builder, split, keys)
  return Split(
    split, known.info, known.splits[split], source, keys, known.skipped
  )


def cores() -> int:
  """CPU cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


@functools.cache
def _pool(threads: int) -> concurrent.futures.ThreadPoolExecutor:
  """The threads of this process; they go when it ends."""
  return concurrent.futures.ThreadPoolExecutor(threads, "decode")


class Decoded:
  """(rows, epoch) -> uint8[n, height, width, channels], from the records."""

  def __init__(
    self, split: Split, frame: crops.Frame, seed: int, threads: int = 1
  ):
    """Frames of a split.

    Args:
      split: whose records are read.
      frame: what is cut out of them.
      seed: draws random frames, by (seed, epoch, id).
      threads: that decode, of each process.
    """
    self.split, self.frame = split, frame
    self._seed, self._threads = seed, threads

  def __call__(self, rows: np.ndarray, epoch: int) -> np.ndarray:
    split, entries = self.split, self.split.entries.take(rows)
    words = bits.bits(
      self._seed, f"frame/{epoch}", entries.id, self.frame.words
    )
    images = np.empty((len(rows), *self.frame.shape), np.uint8)
    # All at once: each call of ArrayRecord's starts threads of its own.
    found = split.read(entries.position.tolist())

    def fill(start: int) -> None:
      for i in range(start, min(start + _TOGETHER, len(rows))):
        position, row = found[i]
        name = tfds_records.name(row, position, split.keys)
        if bits.hash64(f"{split.name}/{name}") != entries.id[i]:
          raise errors.DataError(
            f"record {position} of split {split.name!r} is {name!r}, which"
            f" {index.FILE} does not say; delete that file"
          )
        images[i] = self.frame(row[split.keys.image], name, words[i])

    for _ in _pool(self._threads).map(fill, range(0, len(rows), _TOGETHER)):
      pass
    return images
