"""Labels of the user's own, from a CSV file or an npz archive."""

import csv
import io
import pathlib
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rethink import bits, errors, example

_NAMES = ("name", "index")


class LabelFile(NamedTuple):
  """The content of a file of labels, in its order.

  Attributes:
    path: of the file.
    names: str[n], the source names of examples, each once.
    labels: int32[n].
    digest: of the file's content.
  """

  path: str
  names: list[str]
  labels: np.ndarray
  digest: str


def read(path: str, classes: Sequence[str]) -> LabelFile:
  """Reads a file of labels.

  Args:
    path: a CSV file with a header, or an npz archive (by its suffix): a column
      or array `name` (or `index`: the name of an example that is stored
      without one is its position) and one `label`. Others are not read.
    classes: the class names. Labels are such names, or their positions.

  Raises:
    DataError: naming file and row of what is missing, twice or no class.
  """
  try:
    content = pathlib.Path(path).expanduser().read_bytes()
  except OSError as error:
    raise errors.DataError(f"cannot read labels from {path}: {error}") from None
  suffix = pathlib.Path(path).suffix
  columns = (_arrays if suffix == ".npz" else _columns)(content, path)
  found = [name for name in _NAMES if name in columns]
  if len(found) != 1 or "label" not in columns:
    raise errors.DataError(
      f"{path} must have a column 'name' (or 'index') and a column 'label';"
      f" it has: {', '.join(columns) or 'none'}"
    )
  names, cells = columns[found[0]], columns["label"]
  if not names or len(names) != len(cells):
    raise errors.DataError(
      f"{path} has {len(names)} names and {len(cells)} labels"
    )
  _check_once(names, path)
  labels = _labels(names, cells, classes, path)
  return LabelFile(path, names, labels, bits.digest(content))


def matched(
  file: LabelFile, context: example.Context, partial: bool
) -> np.ndarray:
  """Returns uint64[n], the ids of the file's examples in its order.

  Args:
    file: of labels.
    context: gives the split.
    partial: the file need not name all examples that the run uses.

  Raises:
    DataError: if the file names examples that the split does not have, or not
      all that the run uses.
  """
  split = context.split
  ids = [bits.hash64(f"{split.name}/{name}") for name in file.names]
  ids = np.array(ids, np.uint64)
  where = f"split {split.name!r} of {context.info.name}"
  unknown = np.flatnonzero(~np.isin(ids, split.stored_id))
  if unknown.size:
    found = ", ".join(repr(file.names[row]) for row in unknown[:3])
    raise errors.DataError(
      f"{file.path} names {unknown.size} examples that {where} does not have,"
      f" such as {found}; it has names like {split.names(split.id[:1])[0]!r}"
    )
  missing = split.id[~np.isin(split.id, ids)]
  if missing.size and not partial:
    found = ", ".join(map(repr, split.names(missing[:3])))
    raise errors.DataError(
      f"{file.path} does not name {missing.size} examples of {where}, such as"
      f" {found}; labels_from_file(path, partial=True) lets them keep their"
      " labels"
    )
  return ids


def _columns(content: bytes, path: str) -> dict[str, list[str]]:
  try:
    text = content.decode("utf-8-sig")  # spreadsheets write a mark in front
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
  except (UnicodeDecodeError, csv.Error) as error:
    raise errors.DataError(f"{path} is no CSV file in UTF-8: {error}") from None
  rows = [[cell.strip() for cell in row] for row in rows if row]
  header = rows.pop(0) if rows else []
  for row in rows:
    if len(row) != len(header):
      raise errors.DataError(
        f"{path}: the row {','.join(row)!r} has {len(row)} cells, the header"
        f" has {len(header)}"
      )
  return {
    name: [row[place] for row in rows] for place, name in enumerate(header)
  }


def _arrays(content: bytes, path: str) -> dict[str, list[str]]:
  try:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
      arrays = {name: archive[name] for name in archive.files}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise errors.DataError(f"{path} is no npz archive: {error}") from None
  return {
    name: [x.decode() if isinstance(x, bytes) else str(x) for x in array]
    for name, array in arrays.items()
    if array.ndim == 1
  }


def _check_once(names: Sequence[str], path: str) -> None:
  seen = set()
  for name in names:
    if name in seen:
      raise errors.DataError(f"{path} names {name!r} twice")
    seen.add(name)


def _labels(
  names: Sequence[str], cells: Sequence[str], classes: Sequence[str], path: str
) -> np.ndarray:
  """int32[n]: every cell read as a class name, or every cell as a position."""
  by_name = {name: label for label, name in enumerate(classes)}
  by_position = {str(label): label for label in range(len(classes))}
  readings = []
  for known in (by_name, by_position):
    if all(cell in known for cell in cells):
      readings.append([known[cell] for cell in cells])
  if not readings:
    known = by_name if cells[0] in by_name else by_position
    row = next(i for i, cell in enumerate(cells) if cell not in known)
    raise errors.DataError(
      f"{path}: the label of {names[row]!r} is {cells[row]!r}; labels are class"
      f" names ({', '.join(classes[:3])}, ...), or for all rows positions from"
      f" 0 to {len(classes) - 1}"
    )
  if readings[1:] and readings[0] != readings[1]:
    raise errors.DataError(
      f"{path}: labels may be class names as well as positions of classes,"
      f" since classes are named like numbers ({', '.join(classes[:3])}, ...);"
      " prepare the data set with other class names"
    )
  return np.array(readings[0], np.int32)
