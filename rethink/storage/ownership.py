"""Whose a directory is, and the only functions that delete or set aside.

A program that is given a folder by name must not write into somebody else's:
`check` answers before the first byte. What is deleted must bear a name that
this project writes; everything else is left, or renamed into `damaged/`.
"""

import contextlib
import enum
import os
import pathlib
import re
import stat
import sys
from collections.abc import Callable, Iterable

from rethink import errors
from rethink.storage import files, schema

DAMAGED = "damaged"
# A lock or a file that a process was about to write: nobody's result.
_TRANSIENT = re.compile(r"lock\.json(\..+)?|.+\.[0-9a-f]{8}\.partial")
_STEP = re.compile(r"0|[1-9][0-9]*")
_MANIFESTS = ("checkpoints", "best")
# What a run directory holds that may be deleted, and what a saved state, its
# unfinished forms included, consists of.
_OWN = re.compile(
  r"metrics\.jsonl|config\.json|status\.json|examples/epoch\d{4,}\.npz"
  r"|(checkpoints|best)/\d+(\.deleted|\.orbax-checkpoint-tmp(-\d+)?)?"
)
_OF_A_STATE = re.compile(
  r"(_(CHECKPOINT_)?METADATA|_sharding|_strings\.json|commit_success\.txt"
  r"|manifest\.json(\.[0-9a-f]{8}\.partial)?|array_metadatas/process_\d+"
  r"|descriptor/descriptor\.pbtxt"
  r"|(ocdbt\.process_\d+/)?(manifest\.ocdbt|d/[0-9a-f]+))(\.__lock)?"
)


class Owner(enum.Enum):
  """The owner of a folder."""

  NOBODY = "nobody"  # it is missing or empty
  US = "us"
  SOMEBODY = "somebody else"


def owner(folder: str | os.PathLike) -> Owner:
  """Returns whose a run directory is.

  Ours has a config.json with its fingerprint; where that is lost or damaged, a
  status.json or a manifest of a saved state by our schema. Hidden files and
  `lost+found`, as operating systems leave them, do not count.

  Raises:
    OSError: if the folder is there but cannot be listed.
  """
  root = pathlib.Path(folder)
  try:
    names = os.listdir(root)
  except FileNotFoundError:
    return Owner.NOBODY
  if not any(map(_counts, names)):
    return Owner.NOBODY
  manifests = (
    path.relative_to(root).as_posix()
    for kind in _MANIFESTS
    for path in root.glob(f"{kind}/*/manifest.json")
  )
  records = (n for n in (schema.CONFIG, schema.STATUS) if n in names)

  def read(name: str) -> bytes:
    return (root / name).read_bytes() if (root / name).is_file() else b""

  return judge([*records, *manifests], read)


def judge(records: Iterable[str], read: Callable[[str], bytes]) -> Owner:
  """Returns whose a folder that is not empty is, by its record files.

  Args:
    records: names of record files, relative to the folder, with slashes.
    read: returns the content of one.
  """
  for name in records:
    try:
      if schema.is_ours(name, read(name)):
        return Owner.US
    except OSError:
      continue
  return Owner.SOMEBODY


def is_empty(names: Iterable[str]) -> bool:
  """Returns True if none of the names at the top of a folder counts."""
  return not any(map(_counts, names))


def check(
  folder: str | os.PathLike,
  flag: str,
  whose: Callable[[pathlib.Path], Owner] = owner,
) -> None:
  """Refuses a folder that is somebody else's, before anything is written.

  Args:
    folder: to be written to; it may be missing.
    flag: that named it, such as "workdir", for the message.
    whose: tells the owner of a folder; by default, of a run directory.

  Raises:
    ConfigError: naming what was found there.
  """
  root = pathlib.Path(folder)
  try:
    if whose(root) is not Owner.SOMEBODY:
      return
    found = sorted(filter(_counts, os.listdir(root)))
  except OSError as error:
    raise errors.ConfigError(
      f"--{flag}={folder} cannot be used: {error.strerror}"
    ) from None
  raise foreign(f"--{flag}={folder}", found)


def foreign(place: str, found: Iterable[str]) -> errors.ConfigError:
  """Returns the error for a place that holds somebody else's files."""
  some = sorted(found)
  listed = ", ".join(map(repr, some[:3])) + (", ..." if len(some) > 3 else "")
  return errors.ConfigError(
    f"{place} is not empty and not a directory of this program: it holds"
    f" {listed}; nothing was changed there; give another one"
  )


def remove(path: pathlib.Path, root: pathlib.Path) -> bool:
  """Deletes a file or a saved state of a run directory that is ours.

  Links are removed, not followed. Of a saved state only files that saving
  writes are deleted; if others are found, it is set aside with them.

  Args:
    path: what to delete, below `root`.
    root: the run directory.

  Returns:
    Whether it is gone; False if it was set aside.

  Raises:
    ValueError: if this project does not write such a name.
    RethinkError: if the file system refuses.
  """
  with files.explaining_errors(path):
    return _remove(path, root)


def _remove(path: pathlib.Path, root: pathlib.Path) -> bool:
  name = path.relative_to(root).as_posix()
  for parent in path.relative_to(root).parents:
    if (root / parent).is_symlink() and parent.parts:
      raise errors.ConfigError(
        f"{root / parent} is a symbolic link; nothing is deleted through it"
      )
  if not _OWN.fullmatch(name):
    raise ValueError(f"{name} is not a name that this program deletes")
  if path.is_symlink() or not path.is_dir():
    path.unlink(missing_ok=True)
    return True
  if not path.suffix:
    # Renamed first: a process that dies here leaves no half of a state.
    path = path.rename(path.with_name(path.name + ".deleted"))
  for folder, folders, names in os.walk(path, topdown=False):
    for entry in names:
      inside = pathlib.Path(folder, entry)
      own = _OF_A_STATE.fullmatch(inside.relative_to(path).as_posix())
      # Another process may delete the same unfinished state.
      with contextlib.suppress(FileNotFoundError):
        if own and stat.S_ISREG(inside.lstat().st_mode):
          inside.unlink()
    for entry in folders:  # those that are not empty, and links, stay
      _remove_empty(pathlib.Path(folder, entry))
  _remove_empty(path)
  if path.exists():
    _set_aside(path, root)
    return False
  return True


def set_aside(path: pathlib.Path, root: pathlib.Path) -> pathlib.Path:
  """Renames something below a run directory into its `damaged/`.

  Returns:
    The new path; names that are taken are never replaced.
  """
  with files.explaining_errors(path):
    return _set_aside(path, root)


def _set_aside(path: pathlib.Path, root: pathlib.Path) -> pathlib.Path:
  damaged = files.make_folder(root / DAMAGED)
  parts = path.relative_to(root).parts
  name, number = "-".join(parts), 1
  while os.path.lexists(damaged / f"{name}.{number}"):
    number += 1
  return path.rename(damaged / f"{name}.{number}")


def set_unreadable_aside(root: pathlib.Path) -> None:
  """Sets record files of a run aside that are damaged, or not ours."""
  for name, reader in (
    (schema.CONFIG, schema.config),
    (schema.STATUS, schema.status),
    (schema.METRICS, schema.rows),
  ):
    try:
      reader(root / name)
    except schema.RecordError as error:
      aside = set_aside(root / name, root)
      print(f"rethink: warning: {error}; set aside as {aside}", file=sys.stderr)


def is_step(name: str) -> bool:
  """Returns True if a saved state may have this name: its step."""
  return bool(_STEP.fullmatch(name))


def _counts(name: str) -> bool:
  hidden = name.startswith(".") or name == "lost+found"
  return not hidden and not _TRANSIENT.fullmatch(name)


def _remove_empty(folder: pathlib.Path) -> None:
  try:
    folder.rmdir()
  except OSError:  # not empty, or a link
    pass
