"""One shard: encoded images, from where they lie into an ArrayRecord file."""

import io
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rethink import errors
from rethink.pipeline import tfds_records
from rethink.storage import files

DONE = "done"  # a folder beside the shards; its files say which are whole


class Piece(NamedTuple):
  """An encoded image, and where it lies.

  Attributes:
    name: unique within the split; the example's identity for ever.
    label: the class, by position.
    path: of the file that holds it.
    offset: bytes before it in that file.
    size: bytes.
  """

  name: str
  label: int
  path: str
  offset: int
  size: int

  def read(self) -> bytes:
    """The encoded image.

    Raises:
      DataError: if the file ends before it does, or cannot be read.
    """
    try:
      with open(self.path, "rb") as file:
        data = os.pread(file.fileno(), self.size, self.offset)
    except OSError as error:
      raise errors.DataError(f"cannot read {self.path}: {error}") from error
    if len(data) != self.size:
      raise errors.DataError(f"{self.path} ends within {self.name!r}")
    return data


class Written(NamedTuple):
  """What is in a shard.

  Attributes:
    count: records.
    num_bytes: of all records.
    skipped: a line for each damaged image that was left out.
  """

  count: int
  num_bytes: int
  skipped: list[str]


def write_shard(
  path: str,
  pieces: Sequence[Piece],
  features: Any,
  id_feature: str,
  fix: Callable[[str, bytes], bytes],
  skip_damaged: bool,
) -> Written:
  """Writes a shard, unless an earlier process has.

  Args:
    path: of the shard.
    pieces: its images, in order.
    features: of the data set.
    id_feature: the feature that stores the name.
    fix: (name, data) -> what is stored in place of an image.
    skip_damaged: leave out images that cannot be decoded, instead of raising.

  Raises:
    DataError: naming an image that cannot be read or decoded.
  """
  from array_record.python import array_record_module  # pyright: ignore

  final = pathlib.Path(path)
  mark = final.parent / DONE / f"{final.name}.json"
  if mark.exists():
    known = Written(**json.loads(mark.read_text()))
    if skip_damaged or not known.skipped:
      return known
  partial = final.with_name(f"{final.name}.partial")
  count, num_bytes, skipped = 0, 0, []
  writer = array_record_module.ArrayRecordWriter(str(partial), "group_size:1")
  try:
    for piece in pieces:
      data = piece.read()
      try:
        data = fix(piece.name, data)
        tfds_records.decode(data, piece.name)
      except errors.DataError as error:
        if not skip_damaged:
          raise errors.DataError(
            f"{error}; it lies in {piece.path} at byte {piece.offset},"
            f" {piece.size} bytes long; --skip_damaged leaves such images out"
          ) from None
        skipped.append(str(error))
        continue
      record = features.serialize_example(
        {
          "image": io.BytesIO(data),
          "label": piece.label,
          id_feature: piece.name,
        }
      )
      writer.write(record)
      count += 1
      num_bytes += len(record)
  finally:
    writer.close()
  os.replace(partial, final)
  result = Written(count, num_bytes, skipped)
  files.write_json(mark, result._asdict())
  return result
