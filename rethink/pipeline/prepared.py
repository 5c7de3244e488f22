"""Compares a data set with what `rethink.prepare` wrote.

`rethink_prepared.json` holds the class names, the number of examples of every
split, and the size and a cheap checksum of every shard. Every run compares it
with what is there. Data sets from before it existed have none: `rethink.prepare
--check` adds it.
"""

import concurrent.futures
import functools
import hashlib
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from rethink import errors
from rethink.storage import files

FILE = "rethink_prepared.json"
# Data up to this size are checksummed whole: reading them takes well under a
# second. Of larger ones, only the ends of every shard are.
_WHOLE_BYTES = 2**28
_END_BYTES = 2**16
_COMPARED = 16  # shards of larger data whose ends a run reads


def record(directory: str, info: Any) -> None:
  """Writes down what is there, unless that has been done.

  Args:
    directory: folder of the data set.
    info: `example.DatasetInfo` of all that was read from it.
  """
  folder = pathlib.Path(directory)
  path = folder / FILE
  if path.exists():
    return
  shards = _shards(folder)
  whole = sum(p.stat().st_size for p in shards) <= _WHOLE_BYTES
  facts = {
    "class_names": list(info.class_names),
    "splits": dict(info.splits),
    "checksums_of": "whole files" if whole else "ends of files",
    "shards": {
      p.name: [p.stat().st_size, _checksum(p, whole=whole)] for p in shards
    },
  }
  try:
    files.write_json(path, facts)
  except errors.RethinkError as error:
    print(
      f"rethink: {error}; until it can be written, runs cannot notice that the"
      " data set has changed",
      file=sys.stderr,
    )


def compare(directory: str, builder: Any, label: str, *, shards: bool) -> None:
  """Compares a data set with what `record` wrote down; fields may be missing.

  Args:
    directory: folder of the data set.
    builder: of TFDS, as the folder is now.
    label: feature with the class.
    shards: compare also the shards' sizes and checksums.

  Raises:
    DataError: naming the file that has changed.
  """
  folder = pathlib.Path(directory)
  facts = _read(folder)
  names = list(builder.info.features[label].names)
  known = facts["class_names"] if "class_names" in facts else names
  if names != known:
    i = next(
      (i for i, (a, b) in enumerate(zip(names, known, strict=False)) if a != b),
      min(len(names), len(known)),
    )
    at = [x[i] if i < len(x) else "missing" for x in (names, known)]
    raise _changed(
      folder / f"{label}.labels.txt",
      folder,
      f"has {len(names)} class names, of which number {i} is {at[0]!r}; there"
      f" were {len(known)}, and it was {at[1]!r}",
    )
  counts = {s: i.num_examples for s, i in builder.info.splits.items()}
  counts = {split: n for split, n in counts.items() if n}
  splits = facts["splits"] if "splits" in facts else counts
  if counts != splits:
    raise _changed(
      folder / "dataset_info.json",
      folder,
      f"says that the splits have {counts} examples; there were {splits}",
    )
  if shards and "shards" in facts:
    stamp = tuple(
      (p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in _shards(folder)
    )
    fault = _fault(directory, json.dumps(facts), stamp)
    if fault:
      raise _changed(folder / fault[0], folder, fault[1])


@functools.lru_cache(maxsize=8)  # two splits of a run, all runs of a sweep
def _fault(directory: str, text: str, stamp: tuple) -> tuple[str, str] | None:
  """Returns the first shard that has changed, and how; None if none has."""
  del stamp  # part of the cache's key: changed files are read again
  folder, facts = pathlib.Path(directory), json.loads(text)
  known: Mapping[str, list] = facts["shards"]
  for name, (size, _) in known.items():
    path = folder / name
    if not path.is_file():
      return name, "is missing"
    if path.stat().st_size != size:
      return name, f"has {path.stat().st_size} bytes; there were {size}"
  for path in _shards(folder):
    if path.name not in known:
      return path.name, "was not there"
  whole = facts["checksums_of"] == "whole files"
  step = 1 if whole else max(1, len(known) // _COMPARED)
  names = sorted(known)[::step]
  # In threads, because every read of a mounted bucket takes its time.
  with concurrent.futures.ThreadPoolExecutor(_COMPARED) as pool:
    found = pool.map(lambda x: _checksum(folder / x, whole=whole), names)
    for name, checksum in zip(names, found, strict=True):
      if checksum != known[name][1]:
        return name, "has another content, of the same size"
  return None


def _shards(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files with records; the others are compared by content."""
  return sorted(
    p
    for p in folder.iterdir()
    if p.is_file()
    and (".array_record" in p.name or ".parquet" in p.name)
    and not p.name.endswith(".partial")
  )


def _checksum(path: pathlib.Path, *, whole: bool) -> str:
  digest = hashlib.blake2b(digest_size=16)
  with path.open("rb") as file:
    if whole:
      while block := file.read(2**20):
        digest.update(block)
    else:
      digest.update(file.read(_END_BYTES))
      file.seek(max(0, path.stat().st_size - _END_BYTES))
      digest.update(file.read(_END_BYTES))
  return digest.hexdigest()


def _read(folder: pathlib.Path) -> dict[str, Any]:
  """Returns what was written down; {} if nothing was."""
  path = folder / FILE
  try:
    facts = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    return {}
  except (OSError, ValueError, RecursionError) as error:
    raise _unreadable(path, str(error)) from None
  shapes: Mapping[str, type] = {
    "class_names": list,
    "splits": dict,
    "shards": dict,
  }
  sound = isinstance(facts, dict) and all(
    isinstance(facts[key], kind) for key, kind in shapes.items() if key in facts
  )
  if sound and "shards" in facts:
    sound = "checksums_of" in facts and all(
      isinstance(x, list)
      and len(x) == 2
      and pathlib.PurePath(name).name == name
      for name, x in facts["shards"].items()
    )
  if not sound:
    raise _unreadable(path, "it has other fields than are written there")
  return facts


def _unreadable(path: pathlib.Path, reason: str) -> errors.DataError:
  return errors.DataError(
    f"{path} is damaged ({reason}); delete it, and `python -m rethink.prepare"
    " --check` checks the data set and writes it anew"
  )


def _changed(
  path: pathlib.Path, folder: pathlib.Path, how: str
) -> errors.DataError:
  return errors.DataError(
    f"{path} is not as rethink.prepare left it: it {how}; restore it, or delete"
    f" {folder} and prepare the data set again (or, if the change is meant,"
    f" {folder / FILE} alone)"
  )
