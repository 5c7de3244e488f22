"""The types that flow through the package."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Example(NamedTuple):
  """Examples of one split; every field has the same leading axis.

  Attributes:
    id: uint64[n]; derived from split and source name, never from position.
    image: uint8[n, height, width, channels].
    label: int32[n]; what the model is asked to learn. Corruptions change it.
    true_label: int32[n]; what the data set says. Nothing may change it.
  """

  id: np.ndarray
  image: np.ndarray
  label: np.ndarray
  true_label: np.ndarray

  def take(self, index: np.ndarray) -> "Example":
    """The examples at these positions."""
    return Example(*(field[index] for field in self))


class Labels(NamedTuple):
  """Examples of one split without their images; fields as of `Example`."""

  id: np.ndarray
  label: np.ndarray
  true_label: np.ndarray

  def take(self, index: np.ndarray) -> "Labels":
    """The examples at these positions."""
    return Labels(*(field[index] for field in self))


class DatasetInfo(NamedTuple):
  """What is known of a data set.

  Attributes:
    name: as given to `rethink.prepare`.
    version: as TFDS writes it.
    splits: examples per split.
    class_names: one name per class; the label is the position.
    shape: (height, width, channels) of every image.
    mean: per channel, over all pixels of the training split, in [0, 255].
    std: per channel, likewise (population standard deviation).
    fingerprint: changes if any id, label or pixel changes, and does not change
      with sharding or record order.
  """

  name: str
  version: str
  splits: dict[str, int]
  class_names: tuple[str, ...]
  shape: tuple[int, int, int]
  mean: tuple[float, ...]
  std: tuple[float, ...]
  fingerprint: str

  @property
  def num_classes(self) -> int:
    return len(self.class_names)


def _as_text(ids: np.ndarray) -> list[str]:
  return [f"{number:016x}" for number in ids.tolist()]


class Split(NamedTuple):
  """The split whose labels are corrupted, as a whole.

  Attributes:
    name: in the data set; an id is `bits.hash64(f"{name}/{source name}")`.
    training: True for the split that the run learns from, False for the one
      that it is tested on.
    id: uint64[n] of the examples that the run uses, sorted.
    label: int32[n] of these, as the corruptions before this one left them.
    stored_id: uint64[m] of all examples that the data set has, sorted; more
      than `id` where the run uses a subset.
    names: uint64[k] ids to their k source names, for messages.
  """

  name: str = ""
  training: bool = True
  id: np.ndarray = np.zeros(0, np.uint64)
  label: np.ndarray = np.zeros(0, np.int32)
  stored_id: np.ndarray = np.zeros(0, np.uint64)
  names: Callable[[np.ndarray], list[str]] = _as_text


class Context(NamedTuple):
  """What a corruption may know besides the examples themselves.

  Attributes:
    data_seed: which corruption is drawn; initialization, order and
      augmentation have another seed.
    info: the data set before any corruption.
    image_size: height and width that the model will see, in pixels.
    split: whose labels are corrupted; without examples for a corruption of
      pixels, which may depend on an image's id and pixels only.
  """

  data_seed: int
  info: DatasetInfo
  image_size: int
  split: Split = Split()


def center_crop(image: Any, size: int) -> Any:
  """The central [..., size, size, channels] of images, NumPy's or JAX's."""
  top = (image.shape[-3] - size) // 2
  left = (image.shape[-2] - size) // 2
  return image[..., top : top + size, left : left + size, :]


def moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """Per channel, (means, population standard deviations) of uint8 images."""
  counts = [
    np.bincount(images[..., c].reshape(-1), minlength=256)
    for c in range(images.shape[-1])
  ]
  return moments_of_counts(np.stack(counts))


def moments_of_counts(
  counts: np.ndarray,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """`moments`, from int64[channels, 256]: how often each value occurs."""
  # Integer sums are exact in any order: no float noise in the Gaussian images.
  values = np.arange(256)
  mean, std = [], []
  for count in counts:
    n, s1 = int(count.sum()), int(count @ values)
    s2 = int(count @ values**2)
    mean.append(s1 / n)
    std.append(((n * s2 - s1 * s1) / n**2) ** 0.5)
  return tuple(mean), tuple(std)
