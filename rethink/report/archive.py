"""Small copies of run directories from which a report can be made again."""

import json
import os
import pathlib
import uuid
from collections.abc import Iterable

from rethink import errors
from rethink.report import results
from rethink.storage import runs

_FILES = ("config.json", "metrics.jsonl", "status.json")


def keep(loaded: Iterable[results.Results], folder: pathlib.Path) -> int:
  """Copies the files that reports read, for all finished runs.

  Saved states and per-example files are left out. Of each recorded command line
  only the config overrides are kept, because the other arguments name folders
  of one machine. Nothing is removed: record files are replaced, each run's at
  once, a curve that the run no longer has gets the ending ".replaced", and
  everything else stays as it is.

  Args:
    loaded: the experiments whose runs are copied.
    folder: receives <config>/<run>.

  Returns:
    The number of copied runs.

  Raises:
    ConfigError: before anything is written, if copies would lie among the runs
      or replace the record of a run that still has its states; or if the folder
      cannot be written. What was there is then still there.
  """
  copies = {
    folder / record.workdir.relative_to(experiment.root): record
    for experiment in loaded
    for name in experiment.source.groups
    for record in experiment.group(name).records
  }
  try:
    for experiment in loaded:
      _check_apart(folder, experiment.root)
    for path, record in copies.items():
      _check(path, record, folder)
    for path, record in copies.items():
      _copy(record, path)
  except OSError as error:
    raise errors.ConfigError(
      f"--keep={folder} cannot be written: {error.strerror}"
    ) from None
  return len(copies)


def _check_apart(folder: pathlib.Path, root: pathlib.Path) -> None:
  """Refuses a folder that is that of the runs, in it, or around it."""
  target, source = folder.resolve(), root.resolve()
  if target == source:
    raise errors.ConfigError(
      f"--keep={folder} is the folder of --runs; give another one"
    )
  if _within(target, source) or _within(source, target):
    raise errors.ConfigError(
      f"--keep={folder} and --runs={root} lie in each other; give another"
      " folder"
    )


def _check(
  path: pathlib.Path, record: runs.Record, folder: pathlib.Path
) -> None:
  """Refuses a copy that would replace an original, or make a state unusable."""
  source = record.workdir.resolve()
  for place in (path, path / "curves"):
    if _within(place.resolve(), source) or _within(source, place.resolve()):
      raise errors.ConfigError(
        f"--keep={folder}: {place} is a link to the run {record.workdir}"
        " itself; give another folder"
      )
  if not any((path / name).exists() for name in _FILES):
    return
  try:
    known = runs.read(path).config["fingerprint"]
  except (errors.RethinkError, OSError, ValueError, TypeError, KeyError):
    raise errors.ConfigError(
      f"--keep={folder}: {path} has files of other programs, or a damaged"
      " record; give another folder"
    ) from None
  states = any((path / name).exists() for name in ("checkpoints", "best"))
  if states and known != record.config["fingerprint"]:
    raise errors.ConfigError(
      f"--keep={folder}: {path} has saved states of another run, which need its"
      " record; give another folder"
    )


def _within(path: pathlib.Path, other: pathlib.Path) -> bool:
  return path.is_relative_to(other)


def _copy(record: runs.Record, path: pathlib.Path) -> None:
  """Writes all files of a record beside the old ones, then renames them."""
  argv = [
    text for text in record.status["argv"] if text.startswith("--config.")
  ]
  status = {**record.status, "argv": argv}
  status.pop("pid", None)  # means nothing on another machine
  content = {name: (record.workdir / name).read_bytes() for name in _FILES[:2]}
  for curve in sorted((record.workdir / "curves").glob("*.npz")):
    content[f"curves/{curve.name}"] = curve.read_bytes()
  content["status.json"] = (json.dumps(status, indent=2) + "\n").encode()
  path.mkdir(parents=True, exist_ok=True)
  ending = f".{uuid.uuid4().hex[:8]}.partial"
  try:
    for name, data in content.items():
      partial = path / f"{name}{ending}"
      partial.parent.mkdir(exist_ok=True)
      partial.write_bytes(data)
    for old in (path / "curves").glob("*.npz"):
      if f"curves/{old.name}" not in content:
        os.replace(old, old.with_name(f"{old.name}.replaced"))
    for name in content:
      os.replace(path / f"{name}{ending}", path / name)
  finally:
    for name in content:
      (path / f"{name}{ending}").unlink(missing_ok=True)
