"""What is known of every example of a data set that is too large for memory.

Reading it takes reading all images once, which `rethink.prepare` does at its
end; the result lies beside the records, in `rethink_index.npz`.
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
from rethink.pipeline import datasets, tfds_records
from rethink.storage import files

FILE = "rethink_index.npz"
_CHUNK = 64  # records that a thread reads at a time


class Entries(NamedTuple):
  """The examples of one split, sorted by id like those of `datasets.load`.

  Attributes:
    id: uint64[n].
    label: int32[n]; what the data set says.
    position: int64[n]; of the record in the split.
  """

  id: np.ndarray
  label: np.ndarray
  position: np.ndarray

  def take(self, rows: np.ndarray) -> "Entries":
    """The entries at these rows."""
    return Entries(*(field[rows] for field in self))


class Index(NamedTuple):
  """A data set without its images.

  Attributes:
    info: as `datasets.load` has it, but for `shape`, (0, 0, channels), as
      images may differ in size, and `fingerprint`, which is made of the encoded
      images.
    splits: entries per split.
    skipped: a line for each damaged record that was left out.
  """

  info: example.DatasetInfo
  splits: Mapping[str, Entries]
  skipped: tuple[str, ...]


class _Surveyed(NamedTuple):
  """Some records: their entries, digests, histograms and faults."""

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
  """The index of a prepared data set; makes and keeps it if there is none.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: the folder that holds `name/version/`.
    skip_damaged: leave out records that cannot be read or decoded.
    stopped: looked at while it is made.

  Raises:
    DataError: if the data set is missing or damaged.
    PreemptedError: if stopped.
  """
  path = pathlib.Path(datasets.find(name, data_dir)) / FILE
  found = _read(path)
  if found is None:
    print(
      f"rethink: {path} is missing: all images are read once, which"
      f" `python -m rethink.prepare --check {name}` does beforehand",
      file=sys.stderr,
      flush=True,
    )
    found = build(name, data_dir, skip_damaged=skip_damaged, stopped=stopped)
  if found.skipped and not skip_damaged:
    raise errors.DataError(
      f"{found.skipped[0]}; config.skip_damaged=True leaves out what is damaged"
      f" ({len(found.skipped)})"
    )
  return found


def build(
  name: str,
  data_dir: str,
  *,
  skip_damaged: bool = False,
  stopped: Callable[[], bool] = lambda: False,
) -> Index:
  """Reads and decodes every record; keeps what it finds if the disk lets it.

  Arguments and errors as for `load`.
  """
  directory = datasets.find(name, data_dir)
  splits, skipped, counts = {}, [], {}
  digest = hashlib.blake2b(digest_size=16)
  with datasets.name_in_errors(name, data_dir, directory):
    builder = datasets.open_builder(directory, data_dir)
    keys = tfds_records.keys(builder.info, directory)
    channels = builder.info.features[keys.image].shape[-1]
    classes = tuple(builder.info.features[keys.label].names)
    for split, split_info in sorted(builder.info.splits.items()):
      if split_info.num_examples:
        source = datasets.encoded(builder, split, keys)
        parts = _survey(source, keys, channels, skip_damaged, stopped)
        splits[split], digests = _assemble(split, parts, len(classes))
        skipped += [f"split {split!r}: {x}" for p in parts for x in p.skipped]
        counts[split] = sum(p.counts for p in parts)
        digest.update(f"{split}:{len(digests)}".encode())
        for field in (splits[split].id, splits[split].label, digests):
          digest.update(np.ascontiguousarray(field).data)
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
  _keep(pathlib.Path(directory) / FILE, found)
  return found


def _survey(
  source: Any,
  keys: tfds_records.Keys,
  channels: int,
  skip_damaged: bool,
  stopped: Callable[[], bool],
) -> list[_Surveyed]:
  def survey(start: int) -> _Surveyed:
    if stopped():
      raise errors.PreemptedError(
        "stopped while all images were read once; `python -m rethink.prepare"
        " --check NAME` does that beforehand, the same command begins it anew"
      )
    positions = range(start, min(start + _CHUNK, len(source)))
    rows, skipped = tfds_records.rows(source, positions, skip_damaged)
    found = _Surveyed(
      [], [], [], [], np.zeros((channels, 256), np.int64), skipped
    )
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
      for c in range(channels):  # of a grey image, the one that it has
        at = min(c, image.shape[-1] - 1)
        # OpenCV, unlike NumPy, counts while other threads work.
        count = cv2.calcHist([image], [at], None, [256], [0, 256])
        found.counts[c] += count.reshape(-1).astype(np.int64)
    return found

  with concurrent.futures.ThreadPoolExecutor() as pool:
    return list(pool.map(survey, range(0, len(source), _CHUNK)))


def _assemble(
  split: str, parts: Sequence[_Surveyed], classes: int
) -> tuple[Entries, np.ndarray]:
  """(entries, uint64[n] digests of the encoded images), sorted by id."""
  names = [name for part in parts for name in part.names]
  if not names:
    raise errors.DataError(f"split {split!r} has no readable image")
  ids = [bits.hash64(f"{split}/{name.decode()}") for name in names]
  label = np.array([x for part in parts for x in part.labels], np.int32)
  if label.min() < 0 or label.max() >= classes:
    raise errors.DataError(
      f"split {split!r} has labels outside of its {classes} classes"
    )
  entries = Entries(
    np.array(ids, np.uint64),
    label,
    np.array([x for part in parts for x in part.positions], np.int64),
  )
  order = np.argsort(entries.id)
  entries = entries.take(order)
  if (entries.id[1:] == entries.id[:-1]).any():
    raise errors.DataError(f"split {split!r} names an example twice")
  digests = np.array([x for p in parts for x in p.digests], np.uint64)
  return entries, digests[order]


def _stamp(directory: pathlib.Path) -> list:
  """Tells a data set that was made anew; copies of it have the same."""
  found = sorted(directory.iterdir())
  sizes = [[f.name, f.stat().st_size] for f in found if f.name != FILE]
  # Shards are padded: this file says how many bytes are really in them.
  return [(directory / "dataset_info.json").read_text(), *sizes]


def _keep(path: pathlib.Path, found: Index) -> None:
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
      f"rethink: {error}; without it all images are read at every start",
      file=sys.stderr,
    )


def _read(path: pathlib.Path) -> Index | None:
  """What `_keep` has kept, unless the data set has changed since."""
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
  except Exception:  # missing, cut, of another version: it is made anew
    return None
  for key in ("class_names", "shape", "mean", "std"):
    info[key] = tuple(info[key])
  return Index(example.DatasetInfo(**info), splits, tuple(facts["skipped"]))
