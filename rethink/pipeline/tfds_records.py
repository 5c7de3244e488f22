"""Records of a TFDS data set -> examples."""

import concurrent.futures
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from rethink import bits, errors, example

_ID_FEATURES = ("id", "file_name")  # CIFAR's and ImageNet's, in TFDS


class Keys(NamedTuple):
  """Which features of a record matter.

  Attributes:
    image: encoded.
    label: the class.
    id: the name of the example, or None if it has none.
  """

  image: str
  label: str
  id: str | None


class Read(NamedTuple):
  """One split.

  Attributes:
    examples: sorted by id, `label` equal to `true_label`.
    names: str[n], the source names behind the ids, same order.
    skipped: a line for each record that was left out.
  """

  examples: example.Example
  names: np.ndarray
  skipped: tuple[str, ...]


def keys(info: Any, directory: str) -> Keys:
  """The features of an image classification, by their kind.

  Args:
    info: a tfds.core.DatasetInfo.
    directory: where it lies, for the message.

  Of two labels (CIFAR-100 has a coarse one) the supervised one is meant.

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
        f" feature, this data set has {names}"
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
    source: of `tfds.data_source`, its images not decoded.
    split: its name.
    of: the features.
    skip_damaged: leave out what cannot be read or decoded, instead of raising.

  Raises:
    DataError: naming what is damaged, of several sizes or without a label.
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
  """((position, record) of all that can be read, a line for each other)."""
  try:
    return list(
      zip(positions, source.__getitems__(list(positions)), strict=True)
    ), []
  except Exception:  # whatever its C++ found
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
  """What names the example of a record; its position if it stores no name."""
  # MNIST stores no name, and to add one would make our files differ from the
  # stock builder's. Its records have one order whoever writes them (by a hash
  # of split and position in the archive), which shards merely cut: the
  # position in it is a name that neither sharding nor a reader can change.
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
      f" {sorted(sizes)[:3]}; prepare it with"
      " --image_size=N, or with --keep_sizes for config.pipeline='stream'"
    )
  ids = np.array([bits.hash64(f"{split}/{name}") for name in names], np.uint64)
  if len(np.unique(ids)) != len(ids):
    raise errors.DataError(f"split {split!r} names an example twice")
  label = np.array(labels, np.int32)
  if label.min() < 0:
    raise errors.DataError(f"split {split!r} has examples without a label")
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
  except cv2.error:  # of an empty file, say
    image = None
  if image is None or image.dtype != np.uint8:
    raise errors.DataError(f"image {name!r} is no readable 8-bit PNG or JPEG")
  if image.ndim == 2:
    return image[:, :, None]
  return np.ascontiguousarray(image[:, :, 2::-1])  # OpenCV keeps BGR(A)
