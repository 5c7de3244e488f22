"""Turns the records of a TFDS data set into examples."""

import concurrent.futures
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from rethink import bits, errors, example

# Features that name an example in TFDS: the first in CIFAR, the second in
# ImageNet.
_ID_FEATURES = ("id", "file_name")


class Keys(NamedTuple):
  """The names of the features that are used.

  Attributes:
    image: feature with the encoded image.
    label: feature with the class.
    id: feature with the name of the example, or None if there is none.
  """

  image: str
  label: str
  id: str | None


class Read(NamedTuple):
  """One split in memory.

  Attributes:
    examples: sorted by id, `label` equal to `true_label`.
    names: str[n], names of the examples in the source, in the same order.
    skipped: one line per record that was left out.
  """

  examples: example.Example
  names: np.ndarray
  skipped: tuple[str, ...]


def keys(info: Any, directory: str) -> Keys:
  """Finds the features of an image classification by their types.

  Of several labels (CIFAR-100 also has a coarse one) it chooses the one in
  TFDS's `supervised_keys`.

  Args:
    info: a tfds.core.DatasetInfo.
    directory: folder of the data set, for messages.

  Raises:
    DataError: if the data set is not an image classification.
  """
  import tensorflow_datasets as tfds

  supervised = info.supervised_keys or ()

  def only(kind):
    names = [k for k, f in info.features.items() if isinstance(f, kind)]
    chosen = [k for k in names if k in supervised]
    if len(names) > 1 and len(chosen) == 1:
      return chosen[0]
    if len(names) != 1:
      raise errors.DataError(
        f"{directory}: an image classification has one {kind.__name__}"
        f" feature, but this data set has {names or 'none'}; choose another"
        " data set"
      )
    return names[0]

  id_keys = [k for k in _ID_FEATURES if k in info.features]
  return Keys(
    only(tfds.features.Image),
    only(tfds.features.ClassLabel),
    id_keys[0] if id_keys else None,
  )


def read(source: Any, split: str, of: Keys, skip_damaged: bool) -> Read:
  """Reads and decodes all records of a split.

  Args:
    source: a `tfds.data_source` that does not decode images.
    split: name of the split.
    of: the features to read.
    skip_damaged: leave out records that cannot be read or decoded, instead of
      raising.

  Raises:
    DataError: if an image is damaged, images differ in size, or a label is
      missing.
    Exception: whatever TFDS raises for a record that it cannot read.
  """
  found, skipped = rows(source, range(len(source)), skip_damaged)
  all_names = [name(row, position, of) for position, row in found]

  def attempt(data: bytes, name: str) -> np.ndarray | errors.DataError:
    try:
      return decode(data, name)
    except errors.DataError as error:
      if not skip_damaged:
        raise
      return error

  with concurrent.futures.ThreadPoolExecutor() as pool:
    encoded = (row[of.image] for _, row in found)
    decoded = pool.map(attempt, encoded, all_names, chunksize=64)
    images, names, labels = [], [], []
    for image, named, (_, row) in zip(decoded, all_names, found, strict=True):
      if isinstance(image, errors.DataError):
        skipped.append(str(image))
      else:
        images.append(image)
        names.append(named)
        labels.append(row[of.label])
  if not images:
    raise errors.DataError(f"split {split!r} has no readable image")
  examples, sorted_names = _assemble(split, images, names, labels)
  return Read(
    examples, sorted_names, tuple(f"split {split!r}: {x}" for x in skipped)
  )


def rows(
  source: Any, positions: Sequence[int], skip_damaged: bool
) -> tuple[list[tuple[int, Any]], list[str]]:
  """Reads records by position.

  Returns:
    The readable records as (position, record), and one line per unreadable one.

  Raises:
    Exception: whatever TFDS raises, unless damaged records are skipped.
  """
  try:
    return list(
      zip(positions, source.__getitems__(list(positions)), strict=True)
    ), []
  except Exception:  # one of many: below, each record is read by itself
    if not skip_damaged:
      raise
  found, unreadable = [], []
  for position in positions:
    try:
      found.append((position, source[position]))
    except Exception as error:
      unreadable.append(f"record {position} of {len(source)}: {error}")
  return found, unreadable


def name(row: Any, position: int, of: Keys) -> str:
  """Returns the name of an example; its position if the record has no name."""
  # MNIST stores no names, and adding them would make our files differ from
  # TFDS's. But the order of its records is fixed, by a hash of split and
  # position in the archive, whatever writes them and however they are sharded.
  # So the position in that order is a permanent name.
  return row[of.id].decode() if of.id else str(position)


def _assemble(
  split: str,
  images: Sequence[np.ndarray],
  names: Sequence[str],
  labels: Sequence[int],
) -> tuple[example.Example, np.ndarray]:
  sizes = {image.shape for image in images}
  if len(sizes) != 1:
    raise errors.DataError(
      f"split {split!r} has images of several sizes, such as"
      f" {sorted(sizes)[:3]}; prepare the data set with --resize=N, or with"
      " --keep_sizes and set config.framing='resize' (and"
      " config.pipeline='stream', if they do not fit into memory)"
    )
  ids = np.array([bits.hash64(f"{split}/{name}") for name in names], np.uint64)
  if len(np.unique(ids)) != len(ids):
    raise errors.DataError(
      f"split {split!r} has two examples of the same name; make their names"
      " unique and prepare the data set again"
    )
  label = np.array(labels, np.int32)
  if label.min() < 0:
    raise errors.DataError(
      f"split {split!r} has examples without a label; choose another split"
    )
  order = np.argsort(ids)
  examples = example.Example(ids, np.stack(images), label, label.copy())
  return examples.take(order), np.array(names)[order]


def decode(data: bytes, name: str) -> np.ndarray:
  """Decodes a PNG or JPEG to uint8[height, width, 1 or 3].

  Raises:
    DataError: naming the image.
  """
  flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:  # for example for an empty file
    image = None
  if image is None or image.dtype != np.uint8:
    raise errors.DataError(f"image {name!r} is no readable 8-bit PNG or JPEG")
  if image.ndim == 2:
    return image[:, :, None]
  return np.ascontiguousarray(image[:, :, 2::-1])  # OpenCV returns BGR or BGRA
