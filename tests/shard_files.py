"""Finds and rewrites the ArrayRecord files of prepared data sets."""

import pathlib
from collections.abc import Callable

from array_record.python import array_record_module


def only(folder: pathlib.Path, split: str = "train") -> pathlib.Path:
  """Returns the file of a split that has one."""
  (path,) = folder.glob(f"*-{split}.*")
  return path


def rewrite(
  path: pathlib.Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
  """Writes `change(records)` anew, as sound records of an ArrayRecord file."""
  reader = array_record_module.ArrayRecordReader(str(path))
  records = change(reader.read_all())
  reader.close()
  writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
  for record in records:
    writer.write(record)
  writer.close()
