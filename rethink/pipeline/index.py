"""The index of a data set too large for memory: ids, labels and positions.

Building it takes reading all images once, which `rethink.prepare` does at its
end. The index is stored beside the records, in `rethink_index.npz`.
"""

import concurrent.futures
import hashlib
import io
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from rethink import bits, errors, example
from rethink.pipeline import array_shards, datasets, prepared, tfds_records
from rethink.storage import files

FILE = "rethink_index.npz"
_CHUNK = 64  # records per task of a thread


class Entries(NamedTuple):
  """The examples of one split without images, sorted as by `datasets.load`.

  Attributes:
    id: uint64[n], ascending.
    label: int32[n]; the label in the data set.
    position: int64[n]; position of the record in the split.
  """

  id: np.ndarray
  label: np.ndarray
  position: np.ndarray

  def take(self, rows: np.ndarray) -> "Entries":
    """Returns the entries at these rows."""
    return Entries(*(field[rows] for field in self))


class Index(NamedTuple):
  """A data set without its images.

  Attributes:
    info: as in `datasets.load`, except that `shape` is (0, 0, channels),
      because images may differ in size, and that `fingerprint` is computed from
      the encoded images.
    splits: entries per split.
    skipped: one line per damaged record that was left out.
  """

  info: example.DatasetInfo
  splits: Mapping[str, Entries]
  skipped: tuple[str, ...]


class _Chunk(NamedTuple):
  """The names, labels, positions, digests, histogram and faults of records."""

  names: list[bytes]
  labels: list[int]
  positions: list[int]
  digests: list[int]
  counts: np.ndarray
  skipped: list[str]


def open_index(
  name: str,
  data_dir: str,
  *,
  skip_damaged: bool = False,
  stopped: Callable[[], bool] = lambda: False,
) -> Index:
  """Opens the index of a prepared data set; builds and stores a missing one.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: folder that contains `name/version/`.
    skip_damaged: leave out records that cannot be read or decoded.
    stopped: called while the index is built, which stops when it returns True.

  Raises:
    DataError: if the data set is missing or damaged.
    PreemptedError: if stopped.
  """
  path = pathlib.Path(datasets.find(name, data_dir)) / FILE
  found = _read(path)
  if found is None:
    print(
      f"rethink: {path} is missing or outdated: reading all images once to"
      f" build it; `python -m rethink.prepare --check {name}` builds it in"
      " advance",
      file=sys.stderr,
      flush=True,
    )
    found = build(name, data_dir, skip_damaged=skip_damaged, stopped=stopped)
  if found.skipped and not skip_damaged:
    raise errors.DataError(
      f"{found.skipped[0]}; set config.skip_damaged=True to leave out all"
      f" damaged records ({len(found.skipped)})"
    )
  return found


def build(
  name: str,
  data_dir: str,
  *,
  skip_damaged: bool = False,
  stopped: Callable[[], bool] = lambda: False,
) -> Index:
  """Builds the index from all records, and stores it if the disk is writable.

  Every image is decoded once. Arguments and errors are those of `open_index`.
  """
  directory = datasets.find(name, data_dir)
  splits, skipped, counts = {}, [], {}
  digest = hashlib.blake2b(digest_size=16)
  with datasets.name_in_errors(name, data_dir, directory):
    builder = datasets.open_builder(directory, data_dir)
    keys = tfds_records.keys(builder.info, directory)
    if not skip_damaged:
      array_shards.require_counts(builder, directory)
    channels = builder.info.features[keys.image].shape[-1]
    classes = tuple(builder.info.features[keys.label].names)
    for split, split_info in sorted(builder.info.splits.items()):
      if split_info.num_examples:
        source = datasets.encoded(builder, split, keys)
        parts = _read_records(source, keys, channels, skip_damaged, stopped)
        splits[split], digests = _assemble(split, parts, len(classes))
        skipped += [f"split {split!r}: {x}" for p in parts for x in p.skipped]
        counts[split] = sum(p.counts for p in parts)
        digest.update(f"{split}:{len(digests)}".encode())
        for field in (splits[split].id, splits[split].label, digests):
          digest.update(np.ascontiguousarray(field).data)
  if not counts:
    raise errors.DataError(
      f"{directory} has no split with examples; prepare the data set again"
    )
  mean, std = example.moments_of_counts(
    counts.get("train", next(iter(counts.values())))
  )
  info = example.DatasetInfo(
    name=builder.name,
    version=str(builder.version),
    splits={split: len(entries.id) for split, entries in splits.items()},
    class_names=classes,
    shape=(0, 0, channels),
    mean=mean,
    std=std,
    fingerprint=digest.hexdigest(),
  )
  found = Index(info, splits, tuple(skipped))
  _store(pathlib.Path(directory) / FILE, found)
  return found


def _read_records(
  source: Any,
  keys: tfds_records.Keys,
  channels: int,
  skip_damaged: bool,
  stopped: Callable[[], bool],
) -> list[_Chunk]:
  """Reads and decodes all records in threads.

  Raises:
    DataError: naming a damaged record, unless they are skipped.
    PreemptedError: if stopped.
  """

  def read_chunk(start: int) -> _Chunk:
    if stopped():
      raise errors.PreemptedError(
        "stopped while the index of all images was built; rerunning starts it"
        " over, and `python -m rethink.prepare --check NAME` builds it in"
        " advance"
      )
    positions = range(start, min(start + _CHUNK, len(source)))
    rows, skipped = tfds_records.rows(source, positions, skip_damaged)
    found = _Chunk([], [], [], [], np.zeros((channels, 256), np.int64), skipped)
    for position, row in rows:
      name, data = tfds_records.name(row, position, keys), row[keys.image]
      try:
        image = tfds_records.decode(data, name)
      except errors.DataError as error:
        if not skip_damaged:
          raise
        found.skipped.append(str(error))
        continue
      found.names.append(name.encode())
      found.labels.append(row[keys.label])
      found.positions.append(position)
      found.digests.append(
        int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
      )
      for c in range(channels):
        at = min(c, image.shape[-1] - 1)  # a grey image has one for all
        # OpenCV, unlike NumPy, releases the lock of the interpreter here.
        count = cv2.calcHist([image], [at], None, [256], [0, 256])
        found.counts[c] += count.reshape(-1).astype(np.int64)
    return found

  with concurrent.futures.ThreadPoolExecutor() as pool:
    return list(pool.map(read_chunk, range(0, len(source), _CHUNK)))


def _assemble(
  split: str, parts: Sequence[_Chunk], classes: int
) -> tuple[Entries, np.ndarray]:
  """Joins the chunks of a split, sorted by id.

  Returns:
    (entries, uint64[n] digests of the encoded images).
  """
  names = [name for part in parts for name in part.names]
  if not names:
    raise errors.DataError(f"split {split!r} has no readable image")
  ids = [bits.hash64(f"{split}/{name.decode()}") for name in names]
  label = np.array([x for part in parts for x in part.labels], np.int32)
  if label.min() < 0 or label.max() >= classes:
    raise errors.DataError(
      f"split {split!r} has labels outside of 0 to {classes - 1}, its"
      f" {classes} classes; prepare the data set again"
    )
  entries = Entries(
    np.array(ids, np.uint64),
    label,
    np.array([x for part in parts for x in part.positions], np.int64),
  )
  order = np.argsort(entries.id)
  entries = entries.take(order)
  if (entries.id[1:] == entries.id[:-1]).any():
    raise errors.DataError(
      f"split {split!r} has two examples of the same name; make their names"
      " unique and prepare the data set again"
    )
  digests = np.array([x for p in parts for x in p.digests], np.uint64)
  return entries, digests[order]


def _stamp(directory: pathlib.Path) -> list:
  """Returns a value that changes when a data set is prepared again.

  It contains no times, so that copies of the data set keep their index.
  """
  found = sorted(directory.iterdir())
  ours = (FILE, prepared.FILE)
  sizes = [[f.name, f.stat().st_size] for f in found if f.name not in ours]
  # Shards are padded, so that their sizes may be equal by chance; this file has
  # the numbers of bytes that are used.
  return [(directory / "dataset_info.json").read_text(encoding="utf-8"), *sizes]


def _store(path: pathlib.Path, found: Index) -> None:
  facts = {
    "stamp": _stamp(path.parent),
    "info": found.info._asdict(),
    "skipped": found.skipped,
  }
  arrays = {
    f"{split}/{field}": value
    for split, entries in found.splits.items()
    for field, value in entries._asdict().items()
  }
  buffer = io.BytesIO()
  np.savez(buffer, facts=np.array(json.dumps(facts)), **arrays)
  try:
    files.write(path, buffer.getvalue())
  except errors.RethinkError as error:
    print(
      f"rethink: {error}; until the index can be stored, every start reads all"
      " images",
      file=sys.stderr,
    )


def _read(path: pathlib.Path) -> Index | None:
  """Reads a stored index; returns None if it is missing or outdated."""
  try:
    with np.load(path) as file:
      facts = json.loads(str(file["facts"]))
      if facts["stamp"] != _stamp(path.parent):
        return None
      info = facts["info"]
      splits = {
        split: Entries(*(file[f"{split}/{f}"] for f in Entries._fields))
        for split in info["splits"]
      }
      for key in ("class_names", "shape", "mean", "std"):
        info[key] = tuple(info[key])
      return Index(example.DatasetInfo(**info), splits, tuple(facts["skipped"]))
  except Exception:  # missing, truncated or of another version: built again
    return None
