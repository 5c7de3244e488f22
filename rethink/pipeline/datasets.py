"""TFDS data sets on disk -> examples with stable ids.

No TensorFlow and no network: of the formats of TFDS, only ArrayRecord (which
`rethink.prepare` writes) and Parquet can be read so.
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
from rethink.pipeline import tfds_records

# What `python -m rethink.prepare NAME` makes without further flags.
PREPARED_BY_NAME = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")


class Dataset(NamedTuple):
  """A data set in memory.

  Attributes:
    info: what is known of it.
    splits: examples per split, sorted by id, `label` equal to `true_label`.
    names: str[n] per split, the source names behind the ids, same order.
    skipped: a line for each damaged record that was left out.
  """

  info: example.DatasetInfo
  splits: Mapping[str, example.Example]
  names: Mapping[str, np.ndarray]
  skipped: tuple[str, ...]


def load(name: str, data_dir: str, *, skip_damaged: bool = False) -> Dataset:
  """Reads a prepared data set whole into memory.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: the folder that holds `name/version/`.
    skip_damaged: leave out records that cannot be read or decoded.

  Raises:
    DataError: if it is missing (with the command that prepares it), damaged,
      or not a classification of equally sized images.
  """
  directory = find(name, data_dir)
  files = sorted(pathlib.Path(directory).iterdir())
  stamp = tuple((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files)
  return _load(name, data_dir, directory, skip_damaged, stamp)


@functools.lru_cache(maxsize=1)  # the runs of a sweep share their data
def _load(
  name: str, data_dir: str, directory: str, skip_damaged: bool, stamp: tuple
) -> Dataset:
  del stamp  # tells files that were changed meanwhile
  with name_in_errors(name, data_dir, directory):
    builder = open_builder(directory, data_dir)
    keys = tfds_records.keys(builder.info, directory)
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
            f" beyond its {len(classes)} class names"
          )
  shapes = {tuple(s.image.shape[1:]) for s in splits.values()}
  if len(shapes) != 1:
    raise errors.DataError(f"{directory}: images of several sizes: {shapes}")
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
  """Makes whatever a reader raises a DataError that names the data set."""
  try:
    yield
  except errors.RethinkError:
    raise
  except Exception as error:  # any reader's fault is the data's fault here
    raise errors.DataError(
      f"cannot read data set {name!r} in {directory}: {error}\n"
      f"  python -m rethink.prepare --check {name} --data_dir={data_dir}\n"
      "names the damaged file"
    ) from error


def open_builder(directory: str, data_dir: str) -> Any:
  """The TFDS builder of a data set on disk.

  Raises:
    DataError: if it is in a format that only TensorFlow reads.
  """
  # Imported late: half a second that `--help` should not pay.
  import tensorflow_datasets as tfds

  # Any: the annotations of tfds leave out None and the feature kinds.
  builder: Any = tfds.builder_from_directory(directory)
  formats = tfds.core.FileFormat
  if builder.info.file_format not in (formats.ARRAY_RECORD, formats.PARQUET):
    raise errors.DataError(
      f"{directory} is in {builder.info.file_format.value} format, which only"
      " TensorFlow reads; move that folder away and prepare it with\n"
      f"  python -m rethink.prepare {builder.name} --data_dir={data_dir}"
    )
  return builder


def encoded(builder: Any, split: str, keys: tfds_records.Keys) -> Any:
  """The records of a split by position, their images not decoded."""
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
  """The first n examples of a fixed permutation of the ids.

  Subsets are nested: every one contains the smaller ones of the same seed.

  Args:
    examples: one split.
    n: how many, 1 <= n <= size of the split.
    data_seed: keys the permutation.
    num_classes: of the data set.
    balanced: take the classes in turn, so that class sizes differ by at most
      one as long as the classes last.

  Raises:
    ConfigError: if n is out of range.
  """
  if not 1 <= n <= len(examples.id):
    raise errors.ConfigError(
      f"a subset of {n} examples cannot be taken from {len(examples.id)}"
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
  """The folder of a prepared data set, in its newest version or the one asked.

  Raises:
    DataError: with the command that prepares it, if there is none.
  """
  base, _, version = name.partition(":")
  root = pathlib.Path(data_dir).expanduser() / base
  found = sorted(
    (
      p.parent
      for p in root.glob(f"{version or '*'}/dataset_info.json")
      if re.fullmatch(r"\d+\.\d+\.\d+", p.parent.name)
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
    hint = "(two archives that are fetched by hand; the command says how)"
  elif base in PREPARED_BY_NAME:
    hint = "(without network: add --archives=DIR, the official files)"
  else:
    command += " --folder=DIR"
    hint = (
      "(or --npz=FILE, or neither if TFDS has a builder of that name: those"
      " need the extra 'prepare')"
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
