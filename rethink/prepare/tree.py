"""Finds the images of a folder tree, <split>/<class>/<image>."""

import collections
import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from rethink import errors
from rethink.prepare import class_names, remarks

_SUFFIXES = (".jpg", ".jpeg", ".png")


class Tree(NamedTuple):
  """The images below a folder.

  Attributes:
    root: the folder.
    files: paths by split; the class is the name of the folder they lie in.
    classes: names of all classes, in the order of their labels.
  """

  root: pathlib.Path
  files: dict[str, list[pathlib.Path]]
  classes: tuple[str, ...]


def find(
  directory: str, notes: remarks.Remarks, *, unseen: bool = False
) -> Tree:
  """Returns all images of a folder tree.

  Args:
    directory: contains a folder per split, with a folder per class.
    notes: is told what is left out.
    unseen: accept classes that have no training examples.

  Raises:
    DataError: naming the folder or file that is wrong, and what to do; also
      for an image that would be lost, and a class that would be.
  """
  root = pathlib.Path(directory).expanduser()
  if not root.is_dir():
    raise errors.DataError(
      f"--folder={directory} is no folder; give the folder that contains"
      " <split>/<class>/*.jpg or *.png"
    )
  files: dict[str, list[pathlib.Path]] = {}
  empty: list[pathlib.Path] = []
  try:
    for split in _folders(root, root, notes):
      found = [
        (c, _images(c, root, notes)) for c in _folders(split, root, notes)
      ]
      if any(images for _, images in found):
        files[split.name] = [path for _, images in found for path in images]
        empty += [folder for folder, images in found if not images]
      else:
        notes.add("folders without images are left out", _shown(split, root))
  except OSError as error:
    raise errors.DataError(
      f"--folder={directory} cannot be read: {error}"
    ) from error
  for split in files:
    if not re.fullmatch(r"\w+(-\w+)*", split) or split == "all":
      raise errors.DataError(
        f"{root / split}: {split!r} cannot be the name of a split; rename the"
        " folder, using letters, digits, underscores and dashes, but not 'all'"
      )
  if "train" not in files:
    raise errors.DataError(
      f"--folder={directory} has no images in train/<class>/; arrange them as"
      " <split>/<class>/*.jpg or *.png, with a split named train"
    )
  counts = {
    split: collections.Counter(path.parent.name for path in paths)
    for split, paths in files.items()
  }
  names = {name for found in counts.values() for name in found}
  for folder in empty:
    if folder.parent.name == "train" or folder.name not in names:
      raise errors.DataError(
        f"{folder} has no *.jpg or *.png, so its class would be missing;"
        " convert its files, or move the folder away"
      )
    notes.add(
      "class folders of other splits than train are empty",
      _shown(folder, root),
    )
  where = f"--folder={directory}"
  class_names.require(names, where)
  class_names.require_learnable(counts, where, notes, unseen=unseen)
  return Tree(root, files, class_names.in_order(names))


def _folders(
  folder: pathlib.Path, root: pathlib.Path, notes: remarks.Remarks
) -> Iterator[pathlib.Path]:
  """Yields the folders in a folder, sorted; notes the files beside them."""
  for path in sorted(folder.iterdir()):
    # Tools make folders such as .ipynb_checkpoints; what looks like a split is
    # refused by its name.
    if path.name[0] == "." and not (path.is_dir() and folder == root):
      notes.add("hidden files or folders are left out", _shown(path, root))
    elif path.is_dir():
      _require_text(path)
      yield path
    elif path.suffix.lower() in _SUFFIXES:
      notes.add(
        "images that lie outside of <split>/<class>/ are left out",
        _shown(path, root),
      )
    else:
      notes.add(
        f"{_kind(path)} outside of <split>/<class>/ are left out",
        _shown(path, root),
      )


def _images(
  folder: pathlib.Path, root: pathlib.Path, notes: remarks.Remarks
) -> list[pathlib.Path]:
  """Returns the images in the folder of a class, sorted."""
  found = []
  for path in sorted(folder.iterdir()):
    if path.name[0] == ".":
      notes.add("hidden files or folders are left out", _shown(path, root))
    elif path.suffix.lower() in _SUFFIXES:
      _require_text(path)
      if not path.is_file():  # a pipe would wait for ever, a device never end
        raise errors.DataError(
          f"{path} is no regular file but {_no_file(path)}, although its name"
          " is that of an image; move it away"
        )
      found.append(path)
    elif path.is_dir():
      inside = _first_image(path)
      if inside is not None:
        raise errors.DataError(
          f"{inside} lies too deep: an image has to lie in"
          " <split>/<class>/ itself, or it would be lost; move the images of"
          f" {path} up, or away"
        )
      notes.add("folders without images are left out", _shown(path, root))
    else:
      notes.add(
        f"{_kind(path)} that are no *.jpg or *.png are left out; convert them"
        " if they belong to the data set",
        _shown(path, root),
      )
  return found


def _kind(path: pathlib.Path) -> str:
  suffix = _shown(pathlib.Path(path.suffix), pathlib.Path())
  return f"files named *{suffix}" if path.suffix else "files"


def _no_file(path: pathlib.Path) -> str:
  if path.is_dir():
    return "a folder"
  if path.is_symlink():
    return "a link to nothing"
  return "a pipe, a socket or a device"


def _first_image(folder: pathlib.Path) -> pathlib.Path | None:
  """Returns an image anywhere below a folder, hidden folders left out."""
  for where, folders, names in os.walk(folder):
    folders[:] = sorted(x for x in folders if x[0] != ".")
    for name in sorted(names):
      if name[0] != "." and name.lower().endswith(_SUFFIXES):
        return pathlib.Path(where) / name
  return None


def _shown(path: pathlib.Path, root: pathlib.Path) -> str:
  """Returns a path below the root as text that any terminal can show."""
  return os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")


def _require_text(path: pathlib.Path) -> None:
  """Raises a DataError if the last part of a path is not UTF-8."""
  try:
    os.fsencode(path.name).decode("utf-8")
  except UnicodeDecodeError:
    raise errors.DataError(
      f"the name of {_shown(path, pathlib.Path('/'))!r} is no text in UTF-8;"
      " rename it"
    ) from None
