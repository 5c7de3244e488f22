"""Reads TFDS data sets from disk as examples with permanent ids.

It needs neither TensorFlow nor the network. Therefore it reads only two of
TFDS's formats: ArrayRecord, which `rethink.prepare` writes, and Parquet.
"""

import contextlib
import functools
import hashlib
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rethink import bits, errors, example
from rethink.pipeline import (
  array_shards,
  description,
  prepared,
  tfds_records,
)

# Data sets that `python -m rethink.prepare NAME` makes without further flags.
PREPARED_BY_NAME = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")
# "name", or "name/config" of TFDS, and a version.
_NAME = r"[^\W\d]\w*(/\w[\w.+-]*)?"
_VERSION = r"\d+\.\d+\.\d+"


class Dataset(NamedTuple):
  """A data set in memory.

  Attributes:
    info: facts about it, from the examples that were read.
    splits: examples per split, sorted by id, `label` equal to `true_label`.
    names: str[n] per split, names of the examples in the source, in the same
      order.
    skipped: one line per damaged record that was left out.
  """

  info: example.DatasetInfo
  splits: Mapping[str, example.Example]
  names: Mapping[str, np.ndarray]
  skipped: tuple[str, ...]


def load(name: str, data_dir: str, *, skip_damaged: bool = False) -> Dataset:
  """Reads a complete prepared data set into memory.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: folder that contains `name/version/`.
    skip_damaged: leave out records that cannot be read or decoded.

  Raises:
    DataError: if the data set is missing (with the command that prepares it),
      damaged, or no classification of images of one size.
  """
  directory = find(name, data_dir)
  files = sorted(pathlib.Path(directory).iterdir())
  stamp = tuple((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files)
  return _load(name, data_dir, directory, skip_damaged, stamp)


@functools.lru_cache(maxsize=1)  # the runs of a sweep use the same data
def _load(
  name: str, data_dir: str, directory: str, skip_damaged: bool, stamp: tuple
) -> Dataset:
  del stamp  # part of the cache's key: changed files are read again
  with name_in_errors(name, data_dir, directory):
    builder = open_builder(directory, data_dir)
    keys = tfds_records.keys(builder.info, directory)
    prepared.compare(directory, builder, keys.label, shards=not skip_damaged)
    if not skip_damaged:
      array_shards.require_counts(builder, directory)
    classes = tuple(builder.info.features[keys.label].names)
    splits, names, skipped = {}, {}, []
    for split, split_info in builder.info.splits.items():
      if split_info.num_examples:
        source = encoded(builder, split, keys)
        splits[split], names[split], lines = tfds_records.read(
          source, split, keys, skip_damaged
        )
        skipped += lines
        if splits[split].label.max() >= len(classes):
          raise errors.DataError(
            f"{directory}: split {split!r} of data set {name!r} has labels"
            f" beyond its {len(classes)} class names; prepare it again"
          )
  if not splits:
    raise errors.DataError(
      f"{directory} has no split with examples; prepare the data set again"
    )
  shapes = {tuple(s.image.shape[1:]) for s in splits.values()}
  if len(shapes) != 1:
    raise errors.DataError(
      f"{directory}: the splits have images of several sizes, {shapes}; prepare"
      " the data set with --resize=N"
    )
  first = next(iter(splits.values()))
  mean, std = example.moments(splits.get("train", first).image)
  info = example.DatasetInfo(
    name=builder.name,
    version=str(builder.version),
    splits={split: len(s.id) for split, s in splits.items()},
    class_names=classes,
    shape=shapes.pop(),
    mean=mean,
    std=std,
    fingerprint=_fingerprint(splits),
  )
  return Dataset(info, splits, names, tuple(skipped))


@contextlib.contextmanager
def name_in_errors(name: str, data_dir: str, directory: str) -> Iterator[None]:
  """Turns a reader's exceptions into a DataError that names the data set."""
  try:
    yield
  except errors.RethinkError:
    raise
  except Exception as error:  # TFDS raises many kinds for damaged files
    raise errors.DataError(
      f"cannot read data set {name!r} in {directory}: {error}\n"
      "To find the damaged file, run\n"
      f"  python -m rethink.prepare --check {name} --data_dir={data_dir}"
    ) from error


def open_builder(directory: str, data_dir: str) -> Any:
  """Returns the TFDS builder of a data set on disk.

  Raises:
    DataError: if its description is not safe or contradicts itself, or the data
      set is in a format that only TensorFlow reads.
  """
  description.require_safe(directory)
  # Imported here because it takes half a second, which `--help` need not wait.
  import tensorflow_datasets as tfds

  # Any: the annotations of tfds leave out None and the feature kinds.
  builder: Any = tfds.builder_from_directory(directory)
  for key, feature in builder.info.features.items():
    # TFDS drops its own error for this in a thread.
    if (
      isinstance(feature, tfds.features.ClassLabel)
      and feature.num_classes is not None
      and len(feature.names) != feature.num_classes
    ):
      folder = pathlib.Path(directory)
      raise description.damaged(
        folder / f"{key}.labels.txt",
        folder,
        f"has {len(feature.names)} names, but features.json says"
        f" {feature.num_classes} classes",
      )
  formats = tfds.core.FileFormat
  if builder.info.file_format not in (formats.ARRAY_RECORD, formats.PARQUET):
    raise errors.DataError(
      f"{directory} is in {builder.info.file_format.value} format, which only"
      " TensorFlow reads; move that folder away and prepare it with\n"
      f"  python -m rethink.prepare {_asked(directory, data_dir)}"
      f" --data_dir={data_dir}"
    )
  return builder


def _asked(directory: str, data_dir: str) -> str:
  """Returns the name that a folder of a data set is asked for by."""
  # As the data set calls itself it may be called anything.
  root = pathlib.Path(data_dir).expanduser()
  return str(pathlib.Path(directory).parent.relative_to(root))


def encoded(builder: Any, split: str, keys: tfds_records.Keys) -> Any:
  """Returns the records of a split by position, with encoded images."""
  import tensorflow_datasets as tfds

  return builder.as_data_source(
    split, decoders={keys.image: tfds.decode.SkipDecoding()}
  )


def subset[Examples: (example.Example, example.Labels)](
  examples: Examples,
  n: int,
  data_seed: int,
  num_classes: int,
  *,
  balanced: bool,
) -> Examples:
  """Returns the first n examples of a fixed permutation of the ids.

  Subsets are nested: each contains the smaller ones with the same seed.

  Args:
    examples: one split.
    n: size of the subset, 1 <= n <= size of the split.
    data_seed: seed of the permutation.
    num_classes: number of classes of the data set.
    balanced: take the classes in turn, so that class sizes differ by at most
      one, until a class has no examples left.

  Raises:
    ConfigError: if n is out of range.
  """
  if not 1 <= n <= len(examples.id):
    raise errors.ConfigError(
      f"a subset of {n} examples cannot be taken from {len(examples.id)}; set"
      f" config.train_examples to at most {len(examples.id)}"
    )
  words = bits.bits(data_seed, "subset", examples.id)[:, 0]
  order = np.argsort(words, kind="stable")
  if balanced:
    rank = np.empty(len(order), np.int64)
    for label in range(num_classes):
      members = order[examples.true_label[order] == label]
      rank[members] = np.arange(len(members))
    order = order[np.argsort(rank[order], kind="stable")]
  return examples.take(np.sort(order[:n]))


def find(name: str, data_dir: str) -> str:
  """Returns the folder of a prepared data set.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: folder that contains `name/version/`.

  Raises:
    ConfigError: if the name could lead out of `data_dir`.
    DataError: with the command that prepares the data set, if it is missing.
  """
  if not re.fullmatch(rf"{_NAME}(:{_VERSION})?", name):
    parent = pathlib.PurePath(name).parent
    raise errors.ConfigError(
      f"config.dataset={name!r} is no name of a data set, which is NAME or"
      " NAME:VERSION (such as digits:1.0.0); to read one from another folder,"
      f" give its name alone and that folder as --data_dir={parent}"
    )
  base, _, version = name.partition(":")
  root = pathlib.Path(data_dir).expanduser() / base
  found = sorted(
    (
      p.parent
      for p in root.glob(f"{version or '*'}/dataset_info.json")
      if re.fullmatch(_VERSION, p.parent.name)
    ),
    key=lambda p: [int(x) for x in p.name.split(".")],
  )
  if found:
    return str(found[-1])
  command = f"  python -m rethink.prepare {base} --data_dir={data_dir}"
  if base == "digits":
    hint = "(needs scikit-learn)"
  elif base == "imagenet2012":
    command += " --archives=DIR"
    hint = "(two archives that you download by hand; the command says how)"
  elif base in PREPARED_BY_NAME:
    hint = "(without network: add --archives=DIR with the official files)"
  else:
    command += " --folder=DIR"
    hint = (
      "(or --npz=FILE; or neither of them if TFDS has a builder of that name,"
      " which needs the extra 'prepare')"
    )
  raise errors.DataError(
    f"data set {name!r} is not in {data_dir}; prepare it with\n{command}\n"
    f"{hint}"
  )


def _fingerprint(splits: Mapping[str, example.Example]) -> str:
  digest = hashlib.blake2b(digest_size=16)
  for split in sorted(splits):
    digest.update(f"{split}:{splits[split].image.shape}".encode())
    for field in splits[split]:
      digest.update(np.ascontiguousarray(field).data)
  return digest.hexdigest()
