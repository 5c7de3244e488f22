"""Reads a prepared data set record by record and reports damage."""

import json
import pathlib
from typing import Any

from rethink import errors
from rethink.pipeline import datasets, index, tfds_records


def summary(name: str, data_dir: str) -> str:
  """Checks every record and returns one line: version, examples, fingerprint.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: folder that contains `name/version/`.

  Raises:
    DataError: naming the damaged file and the position of the record in it.
  """
  folder = pathlib.Path(datasets.find(name, data_dir))
  for file in ("dataset_info.json", "features.json"):
    try:
      json.loads((folder / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
      raise _damaged(folder / file, f"is damaged: {error}") from None
  # Imported here because it takes half a second, which `--help` need not wait.
  import tensorflow_datasets as tfds

  try:
    # Any: the annotations of tfds leave out None and the feature kinds.
    builder: Any = tfds.builder_from_directory(folder)
  except Exception as error:  # TFDS raises many kinds for damaged files
    raise _damaged(folder / "*", f"is damaged: {error}") from error
  shards = []
  if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
    shards = [
      _Shard(pathlib.Path(shard.filename), shard.examples_in_shard)
      for split in builder.info.splits.values()
      for shard in split.file_instructions
    ]
  try:  # both branches decode every record
    if _of_several_sizes(builder, folder):
      info = index.build(name, data_dir).info
    else:
      info = datasets.load(name, data_dir).info
  except errors.DataError:
    # Reads again, record by record: slower, but it names the damaged one.
    for shard in shards:
      _check_records(shard, builder.info)
    raise
  counts = ", ".join(f"{split} {n}" for split, n in info.splits.items())
  return (
    f"{name.partition(':')[0]} {info.version}: {counts};"
    f" fingerprint {info.fingerprint}"
  )


def _of_several_sizes(builder: Any, folder: pathlib.Path) -> bool:
  """Returns True if images may differ in size, and so have to be streamed."""
  image = tfds_records.keys(builder.info, str(folder)).image
  return None in builder.info.features[image].shape


def _check_records(shard: "_Shard", info: Any) -> None:
  import tensorflow_datasets as tfds

  keys = tfds_records.keys(info, str(shard.path.parent))
  classes = info.features[keys.label].num_classes
  for position in range(shard.count):
    record = shard.read(position)
    where = f"record {position} of {shard.count}"
    try:
      row = info.features.deserialize_example_np(
        record, decoders={keys.image: tfds.decode.SkipDecoding()}
      )
    except Exception as error:
      raise _damaged(shard.path, f"{where}: {error}") from error
    try:
      tfds_records.decode(row[keys.image], where)
    except errors.DataError as error:
      raise _damaged(shard.path, str(error)) from None
    if not 0 <= row[keys.label] < classes:
      raise _damaged(
        shard.path,
        f"{where} has the label {row[keys.label]}, but there are only"
        f" {classes} classes",
      )


def _damaged(path: pathlib.Path, fault: str) -> errors.DataError:
  return errors.DataError(
    f"{path}: {fault}\ndelete {path.parent} and prepare the data set again"
  )


class _Shard:
  """An ArrayRecord file whose errors name the file.

  The reader is written in C++ and documents no exceptions, so all are caught.
  """

  def __init__(self, path: pathlib.Path, count: int):
    from array_record.python import array_record_module  # pyright: ignore

    self.path, self.count = path, count
    if not path.is_file():
      raise _damaged(path, "is missing")
    try:
      self._reader = array_record_module.ArrayRecordReader(str(path))
      found = self._reader.num_records()
    except Exception as error:
      raise _damaged(path, f"is damaged: {error}") from error
    if found != count:
      raise _damaged(
        path, f"holds {found} records, but dataset_info.json says {count}"
      )

  def read(self, position: int) -> bytes:
    try:
      return self._reader.read([position])[0]
    except Exception as error:
      raise _damaged(
        self.path, f"record {position} of {self.count}: {error}"
      ) from error
