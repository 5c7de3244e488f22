"""Reads a prepared data set record by record and reports damage."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from rethink import errors
from rethink.pipeline import (
  array_shards,
  datasets,
  description,
  index,
  prepared,
  tfds_records,
)


def summary(name: str, data_dir: str) -> str:
  """Checks every record and returns one line: version, examples, fingerprint.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: folder that contains `name/version/`.

  Raises:
    DataError: naming the damaged file and the position of the record in it.
  """
  directory = datasets.find(name, data_dir)
  folder = pathlib.Path(directory)
  description.require_safe(directory)
  with _calling_damaged(folder):
    builder = datasets.open_builder(directory, data_dir)
  try:  # both branches decode every record
    if _of_several_sizes(builder, directory):
      info = index.build(name, data_dir).info
    else:
      info = datasets.load(name, data_dir).info
    label = tfds_records.keys(builder.info, directory).label
    prepared.compare(directory, builder, label, shards=True)
  except errors.DataError:
    # Reads again, record by record: slower, but it names the damaged one.
    with _calling_damaged(folder):
      for path, count in array_shards.listed(builder):
        shard = array_shards.Shard(path, count, folder)
        _check_records(shard, builder.info)
    raise
  prepared.record(directory, info)
  counts = ", ".join(f"{split} {n}" for split, n in info.splits.items())
  return (
    f"{name.partition(':')[0]} {info.version}: {counts};"
    f" fingerprint {info.fingerprint}"
  )


@contextlib.contextmanager
def _calling_damaged(folder: pathlib.Path) -> Iterator[None]:
  """Turns a reader's exceptions into a DataError that names the data set."""
  try:
    yield
  except errors.RethinkError:
    raise
  except Exception as error:  # TFDS raises many kinds for damaged files
    raise description.damaged(
      folder / "*", folder, f"is damaged: {error}"
    ) from error


def of_several_sizes(name: str, data_dir: str) -> bool:
  """Returns True if images may differ in size, and so have to be streamed."""
  directory = datasets.find(name, data_dir)
  with datasets.name_in_errors(name, data_dir, directory):
    builder = datasets.open_builder(directory, data_dir)
    return _of_several_sizes(builder, directory)


def _of_several_sizes(builder: Any, directory: str) -> bool:
  image = tfds_records.keys(builder.info, directory).image
  return None in builder.info.features[image].shape


def _check_records(shard: array_shards.Shard, info: Any) -> None:
  import tensorflow_datasets as tfds

  keys = tfds_records.keys(info, str(shard.folder))
  classes = info.features[keys.label].num_classes
  for position in range(shard.count):
    record = shard.read(position)
    where = f"record {position} of {shard.count}"
    try:
      row = info.features.deserialize_example_np(
        record, decoders={keys.image: tfds.decode.SkipDecoding()}
      )
    except Exception as error:
      raise shard.damaged(f"{where}: {error}") from error
    try:
      tfds_records.decode(row[keys.image], where)
    except errors.DataError as error:
      raise shard.damaged(str(error)) from None
    if not 0 <= row[keys.label] < classes:
      raise shard.damaged(
        f"{where} has the label {row[keys.label]}, but there are only"
        f" {classes} classes",
      )
