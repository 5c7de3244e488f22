"""Reads the shards of a prepared data set one by one; errors name the file."""

import pathlib
from typing import Any

from rethink import errors
from rethink.pipeline import description


class Shard:
  """An ArrayRecord file whose errors name the file.

  The reader is written in C++ and documents no exceptions, so all are caught.
  """

  def __init__(self, path: pathlib.Path, count: int, folder: pathlib.Path):
    """Opens a shard.

    Args:
      path: of the shard.
      count: number of records that the description of the data set gives it.
      folder: of the data set, for messages.

    Raises:
      DataError: if it is missing or damaged, or holds another number.
    """
    from array_record.python import array_record_module  # pyright: ignore

    self.path, self.count, self.folder = path, count, folder
    if not path.is_file():
      raise self.damaged("is missing")
    try:
      self._reader = array_record_module.ArrayRecordReader(str(path))
      found = self._reader.num_records()
    except Exception as error:
      raise self.damaged(f"is damaged: {error}") from error
    if found != count:
      raise self.damaged(
        f"holds {found} records, but dataset_info.json says {count}"
      )

  def read(self, position: int) -> bytes:
    """Returns a record.

    Raises:
      DataError: naming its position, if it cannot be read.
    """
    try:
      return self._reader.read([position])[0]
    except Exception as error:
      raise self.damaged(
        f"record {position} of {self.count}: {error}"
      ) from error

  def close(self) -> None:
    """Closes the file."""
    self._reader.close()

  def damaged(self, fault: str) -> errors.DataError:
    """Returns the error for a fault of this shard."""
    return description.damaged(self.path, self.folder, fault)


def listed(builder: Any) -> list[tuple[pathlib.Path, int]]:
  """Returns (path, number of records) of all shards in ArrayRecord format."""
  import tensorflow_datasets as tfds

  if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
    return []
  return [
    (pathlib.Path(shard.filename), shard.examples_in_shard)
    for split in builder.info.splits.values()
    for shard in split.file_instructions
  ]


def require_counts(builder: Any, directory: str) -> None:
  """Compares the records of all shards with what the description says.

  Otherwise TFDS reads as many as the description says, of a longer shard.

  Raises:
    DataError: naming the shard that is missing, damaged, or holds another
      number of records.
  """
  for path, count in listed(builder):
    Shard(path, count, pathlib.Path(directory)).close()
