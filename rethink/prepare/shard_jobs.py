"""Writes one shard: copies encoded images into an ArrayRecord file."""

import io
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from rethink import errors
from rethink.pipeline import tfds_records
from rethink.prepare import remarks
from rethink.storage import files

# (name, encoded image, (kind of remark, name) -> None) -> encoded image
Convert = Callable[[str, bytes, Callable[[str, str], None]], bytes]
DONE = "done"  # folder beside the shards with a file for every complete shard


class Piece(NamedTuple):
  """An encoded image as a range of bytes in a file.

  Attributes:
    name: unique within the split; the permanent identity of the example.
    label: position of its class.
    path: file that contains the image.
    offset: position of its first byte in that file.
    size: in bytes.
  """

  name: str
  label: int
  path: str
  offset: int
  size: int

  def read(self) -> bytes:
    """Reads the encoded image.

    Raises:
      DataError: if the file cannot be read or is too short.
    """
    try:
      with open(self.path, "rb") as file:
        data = os.pread(file.fileno(), self.size, self.offset)
    except OSError as error:
      raise errors.DataError(f"cannot read {self.path}: {error}") from error
    if len(data) != self.size:
      raise errors.DataError(
        f"{self.path} is truncated: it ends within {self.name!r}; restore the"
        " file and run the same command again"
      )
    return data


class Written(NamedTuple):
  """The content of a written shard.

  Attributes:
    count: number of records.
    num_bytes: size of all records.
    skipped: one line per damaged image that was left out.
    noted: kind of remark -> (count, first image of it).
  """

  count: int
  num_bytes: int
  skipped: list[str]
  noted: Mapping[str, Sequence[Any]] = MappingProxyType({})


def write_shard(
  path: str,
  pieces: Sequence[Piece],
  features: Any,
  id_feature: str,
  convert: Convert,
  skip_damaged: bool,
) -> Written:
  """Writes a shard, unless an earlier process has written it.

  Args:
    path: path of the shard.
    pieces: its images, in order.
    features: TFDS features of the data set.
    id_feature: feature that stores the name.
    convert: (name, encoded image, remark) -> the encoded image to store.
    skip_damaged: leave out images that cannot be decoded, instead of raising.

  Raises:
    DataError: naming an image that cannot be read or decoded.
  """
  from array_record.python import array_record_module  # pyright: ignore

  final = pathlib.Path(path)
  mark = final.parent / DONE / f"{final.name}.json"
  if mark.exists():
    known = Written(**json.loads(mark.read_text(encoding="utf-8")))
    # Without --skip_damaged a shard with gaps is written again, and raises.
    if skip_damaged or not known.skipped:
      return known
  partial = final.with_name(f"{final.name}.partial")
  count, num_bytes, skipped, notes = 0, 0, [], remarks.Remarks()
  writer = array_record_module.ArrayRecordWriter(str(partial), "group_size:1")
  try:
    for piece in pieces:
      data = piece.read()
      try:
        data = convert(piece.name, data, notes.add)
        tfds_records.decode(data, piece.name)
      except errors.DataError as error:
        if not skip_damaged:
          raise errors.DataError(
            f"{error}; it is in {piece.path} at byte {piece.offset},"
            f" {piece.size} bytes long; give --skip_damaged to leave such"
            " images out"
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
  # The mark comes last: it means that the shard is complete.
  os.replace(partial, final)
  result = Written(count, num_bytes, skipped, notes.found)
  files.write_json(mark, result._asdict())
  return result
