"""Reads and decodes the images of a split on disk, in threads."""

import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rethink import bits, errors, example
from rethink.pipeline import crops, datasets, index, prepared, tfds_records

_TOGETHER = 8  # images per task of a thread: fewer tasks cost less to schedule


class Split(NamedTuple):
  """One split on disk.

  Attributes:
    name: name of the split.
    info: the data set; `shape` is (0, 0, channels).
    entries: ids, labels and positions of the examples, sorted by id.
    source: records by position, with encoded images.
    keys: the features of a record that are used.
    skipped: one line per damaged record of the data set that is left out.
  """

  name: str
  info: example.DatasetInfo
  entries: index.Entries
  source: Any
  keys: tfds_records.Keys
  skipped: tuple[str, ...]

  def take(self, rows: np.ndarray) -> "Split":
    """Returns the split reduced to the entries at these rows."""
    return self._replace(entries=self.entries.take(rows))

  def read(self, positions: Sequence[int]) -> list[tuple[int, Any]]:
    """Reads records; returns (position, record) pairs.

    Raises:
      DataError: if a record cannot be read.
    """
    try:
      return tfds_records.rows(self.source, positions, skip_damaged=False)[0]
    except Exception as error:  # ArrayRecord's C++ documents no exceptions
      raise errors.DataError(
        f"cannot read split {self.name!r} of {self.info.name}: {error}; run"
        f" `python -m rethink.prepare --check {self.info.name}` to find the"
        " damaged file"
      ) from error

  def names(self, rows: np.ndarray) -> list[str]:
    """Returns the names of the entries at these rows in the source."""
    positions = self.entries.position[rows].tolist()
    return [
      tfds_records.name(row, position, self.keys)
      for position, row in self.read(positions)
    ]


def open_split(
  name: str,
  data_dir: str,
  split: str,
  *,
  skip_damaged: bool = False,
  stopped: Callable[[], bool] = lambda: False,
) -> Split:
  """Opens a split of a prepared data set; reads only its index, no images.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: folder that contains `name/version/`.
    split: name of the split.
    skip_damaged: leave out records that cannot be read or decoded.
    stopped: called while a missing index is built, which stops when it returns
      True.

  Raises:
    DataError: if the data set is missing or damaged.
    PreemptedError: if stopped.
    ConfigError: if there is no such split.
  """
  directory = datasets.find(name, data_dir)
  with datasets.name_in_errors(name, data_dir, directory):
    builder = datasets.open_builder(directory, data_dir)
    keys = tfds_records.keys(builder.info, directory)
    prepared.compare(directory, builder, keys.label, shards=not skip_damaged)
  known = index.open_index(
    name, data_dir, skip_damaged=skip_damaged, stopped=stopped
  )
  _require_fits(known, builder, keys.label, directory)
  if split not in known.splits:
    raise errors.ConfigError(
      f"{known.info.name} has no split {split!r}; set config.train_split and"
      f" config.test_split to one of: {', '.join(known.splits)}"
    )
  with datasets.name_in_errors(name, data_dir, directory):
    source = datasets.encoded(builder, split, keys)
  return Split(
    split, known.info, known.splits[split], source, keys, known.skipped
  )


def _require_fits(
  found: index.Index, builder: Any, label: str, directory: str
) -> None:
  """Compares an index, whose stamp has only sizes of files, with the data set.

  Args:
    found: the index.
    builder: of TFDS, as the folder is now.
    label: feature with the class.
    directory: folder of the data set.

  Raises:
    DataError: if the index is of other data, or leads out of them.
  """
  folder, info = pathlib.Path(directory), found.info
  names = tuple(builder.info.features[label].names)
  if names != info.class_names:
    raise errors.DataError(
      f"{folder / f'{label}.labels.txt'} has other class names than"
      f" {index.FILE}, which was made with them; restore it, or delete that"
      f" index in {folder}, and the next run builds it again"
    )
  # The name of the data set becomes a part of the name of a cache file.
  fits = (info.name, info.version) == (builder.name, str(builder.version))
  for split, entries in found.splits.items():
    known = builder.info.splits
    n = known[split].num_examples if split in known else 0
    fits = (
      fits and len({x.shape for x in entries}) == 1 and entries.id.ndim == 1
    )
    fits = fits and 0 < len(entries.id) <= n
    fits = fits and entries.id.dtype == np.uint64
    for values, end in ((entries.position, n), (entries.label, len(names))):
      fits = fits and values.dtype.kind == "i"
      fits = fits and 0 <= values.min() and values.max() < end
  if not fits:
    raise errors.DataError(
      f"{folder / index.FILE} is of other data than lie beside it; delete it,"
      " and the next run builds it again"
    )


def cores() -> int:
  """Returns the number of CPU cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


@functools.cache
def _pool(threads: int) -> concurrent.futures.ThreadPoolExecutor:
  """Returns the decoding threads, which all splits of this process share."""
  return concurrent.futures.ThreadPoolExecutor(threads, "decode")


class Decoded:
  """Decodes frames from records: (rows, epoch) -> uint8[n, h, w, channels]."""

  def __init__(
    self, split: Split, frame: crops.Frame, seed: int, threads: int = 1
  ):
    """Stores the arguments; reads nothing yet.

    Args:
      split: the split whose records are read.
      frame: decodes an image and cuts a part out of it.
      seed: seed of random frames, which depend on (seed, epoch, id).
      threads: decoding threads per process.
    """
    self.split, self.frame = split, frame
    self._seed, self._threads = seed, threads

  def __call__(self, rows: np.ndarray, epoch: int) -> np.ndarray:
    split, entries = self.split, self.split.entries.take(rows)
    words = bits.bits(
      self._seed, f"frame/{epoch}", entries.id, self.frame.words
    )
    images = np.empty((len(rows), *self.frame.shape), np.uint8)
    # One call for all records, as every call of ArrayRecord starts threads.
    found = split.read(entries.position.tolist())

    def fill(start: int) -> None:
      for i in range(start, min(start + _TOGETHER, len(rows))):
        position, row = found[i]
        name = tfds_records.name(row, position, split.keys)
        if bits.hash64(f"{split.name}/{name}") != entries.id[i]:
          raise errors.DataError(
            f"record {position} of split {split.name!r} is {name!r}, but"
            f" {index.FILE} names another example there; delete that file, and"
            " the next run builds it again"
          )
        images[i] = self.frame(row[split.keys.image], name, words[i])

    for _ in _pool(self._threads).map(fill, range(0, len(rows), _TOGETHER)):
      pass
    return images
