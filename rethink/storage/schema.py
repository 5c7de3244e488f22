"""Reads the record files of a run: the only code that parses them.

  config.json  status.json  metrics.jsonl  lock.json  manifest.json

Each is a JSON object (metrics.jsonl: one on each line) whose fields
record_types.py declares. Readers return the object as it stands in the file,
once it is known to fit. Fields that are not declared, as newer versions write
them, are kept; those that older versions lack may be missing. Everything else
is a RecordError, which names file, field and what to do.
"""

import hashlib
import json
import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from rethink import errors
from rethink.storage import fingerprints, record_types

CONFIG, STATUS, METRICS = "config.json", "status.json", "metrics.jsonl"
LOCK, MANIFEST = "lock.json", "manifest.json"
ADVICE = (
  "restore the file from a copy, or delete this run directory and run it again"
)


class RecordError(errors.ConfigError):
  """A record file is damaged, or was not written by this program."""


def config(path: pathlib.Path) -> dict[str, Any]:
  """Reads config.json; returns {} if there is no such file.

  Raises:
    RecordError: if it does not fit, or its fingerprint is not of its outcome.
  """
  found = _read(path, record_types.Config)
  if found and found["fingerprint"] != fingerprints.fingerprint(
    found["outcome"]
  ):
    _refuse(path, "fingerprint is not that of the outcome", ADVICE)
  if found:
    older = msgspec.structs.fields(record_types.Bookkeeping)
    for field in older:
      found["bookkeeping"].setdefault(field.name, field.default)
  return found


def status(path: pathlib.Path) -> dict[str, Any]:
  """Reads status.json; returns {} if there is no such file.

  Raises:
    RecordError: if it does not fit.
  """
  found = _read(path, record_types.Status)
  if found and found["state"] == "done":
    _convert(path, found, record_types.Done)
  return found


def is_ours(name: str, content: bytes) -> bool:
  """Returns True if a record file was written by this program.

  Args:
    name: of the file, with or without folders.
    content: its bytes.
  """
  try:
    found = _parse(name, content)
    base = name.rpartition("/")[2]
    if base == CONFIG:
      _convert(name, found, record_types.Config)
      return found["fingerprint"] == fingerprints.fingerprint(found["outcome"])
    if base == MANIFEST:
      _convert(name, found, record_types.Manifest)
      return found["digest"] == own_digest(found)
    _convert(name, found, record_types.Status)
    return base == STATUS
  except RecordError:
    return False


def own_digest(manifest: Mapping[str, Any]) -> str:
  """Returns the digest of a manifest's other fields."""
  fields = {k: v for k, v in manifest.items() if k != "digest"}
  text = json.dumps(fields, sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def check_done(path: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Checks that the config of a run that is done names its data.

  Args:
    path: the file config.json.
    config: its content.

  Raises:
    RecordError: if it does not.
  """
  if not config:
    _refuse(path, "is missing", ADVICE)
  _convert(path, config["data"], record_types.DoneData)


def rows(path: pathlib.Path) -> list[dict[str, Any]]:
  """Reads metrics.jsonl, sorted by step; returns [] if there is no such file.

  An incomplete last line, as a killed process leaves it, is left out. Rows of
  one step that differ in times only are one: a process that was frozen may
  append its row after another process has taken its run over.

  Raises:
    RecordError: if a line does not fit, or two rows of a step differ.
  """
  found: dict[int, dict[str, Any]] = {}
  *lines, last = _bytes(path).split(b"\n")
  for number, line in enumerate([*lines, last], 1):
    where = f"{path}:{number}"
    try:
      row = _parse(where, line)
    except RecordError:
      if number > len(lines):  # without its line break: torn
        continue
      raise
    _convert(where, row, record_types.Row)
    for name, value in row.items():
      if not _is_number(value):
        _refuse(where, f"field {name!r} is no finite number", ADVICE)
    earlier = found.setdefault(row["step"], row)
    if _lasting(earlier) != _lasting(row):
      _refuse(
        where,
        f"a second row of step {row['step']} differs from the first; two"
        " processes have written it",
        ADVICE,
      )
  return [found[step] for step in sorted(found)]


def lock(path: pathlib.Path) -> record_types.Lock | None:
  """Reads lock.json; returns None if its content is no lock.

  Raises:
    OSError: if the file is missing or cannot be read.
  """
  return parse_lock(path.read_bytes())


def parse_lock(content: bytes) -> record_types.Lock | None:
  """Returns the lock that is the content of a lock.json; None if it is none."""
  try:
    return _convert("lock", _parse("lock", content), record_types.Lock)
  except RecordError:
    return None


def manifest(path: pathlib.Path, content: bytes) -> dict[str, Any]:
  """Returns the content of a manifest.json as an object.

  Args:
    path: the file.
    content: its bytes.

  Raises:
    RecordError: if it does not fit.
  """
  found = _parse(str(path), content)
  _convert(path, found, record_types.Manifest)
  for name in found["files"]:
    if os.path.isabs(name) or ".." in pathlib.PurePath(name).parts:
      _refuse(path, f"field 'files' has {name!r}", ADVICE)
  return found


def _read(path: pathlib.Path, kind: type[msgspec.Struct]) -> dict[str, Any]:
  try:
    content = path.read_bytes()
  except FileNotFoundError:
    return {}
  except OSError as error:
    _refuse(path, f"cannot be read: {error.strerror}", ADVICE)
  found = _parse(str(path), content)
  _convert(path, found, kind)
  return found


def _bytes(path: pathlib.Path) -> bytes:
  try:
    return path.read_bytes()
  except FileNotFoundError:
    return b""
  except OSError as error:
    _refuse(path, f"cannot be read: {error.strerror}", ADVICE)


def _parse(where: str, content: bytes) -> dict[str, Any]:
  """Returns a JSON object. NaN is read, because numbers of a status may be."""
  try:
    found = json.loads(content.decode())
  except (ValueError, RecursionError) as error:  # of JSON, UTF-8, long numbers
    _refuse(where, f"is not valid JSON ({errors.reason(error)})", ADVICE)
  if not isinstance(found, dict):
    _refuse(where, "is no JSON object", ADVICE)
  return found


def _convert[T](where: Any, found: Any, kind: type[T]) -> T:
  try:
    return msgspec.convert(found, kind)
  except msgspec.ValidationError as error:
    # "Expected `int`, got `str` - at `$.data.train`"
    what, _, place = str(error).replace("`", "").partition(" - at $")
    place = place.lstrip(".")
    what, _, lacking = what.partition(" missing required field ")
    if lacking:
      what = f"has no field {'.'.join(filter(None, (place, lacking)))!r}"
    else:
      what = f"{f'field {place!r}' if place else 'content'}: {what.lower()}"
    _refuse(where, what, ADVICE)


def _refuse(where: Any, what: str, advice: str) -> NoReturn:
  raise RecordError(f"{where} {what}; {advice}") from None


def _is_number(value: Any) -> bool:
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    return False
  try:
    return math.isfinite(value)
  except OverflowError:  # an integer beyond the range of floats
    return False


def _lasting(row: Mapping[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in row.items() if not re.match("time/", k)}
