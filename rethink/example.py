"""Examples, facts about a data set, and what a corruption is told."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Example(NamedTuple):
  """Examples of one split; every field has the same leading axis.

  Attributes:
    id: uint64[n]; derived from split and source name, never from position.
    image: uint8[n, height, width, channels].
    label: int32[n]; the label to learn. Corruptions change it.
    true_label: int32[n]; the label in the data set. Nothing may change it.
  """

  id: np.ndarray
  image: np.ndarray
  label: np.ndarray
  true_label: np.ndarray

  def take(self, index: np.ndarray) -> "Example":
    """Returns the examples at these positions."""
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
  """Facts about a data set.

  Attributes:
    name: the name given to `rethink.prepare`.
    version: in the form of TFDS, such as "1.0.0".
    splits: number of examples per split.
    class_names: one name per class; the label is the position.
    shape: (height, width, channels) of every image.
    mean: per channel, over all pixels of the training split, in [0, 255].
    std: population standard deviation per channel, over the same pixels.
    fingerprint: changes if any id, label or pixel changes, but not with
      sharding or the order of records.
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
  """Everything that a corruption is told besides the examples.

  Attributes:
    data_seed: seed of the corruption; initialization, order and augmentation
      have another seed.
    info: the data set before any corruption.
    image_size: height and width of the images that the model sees, in pixels.
    split: whose labels are corrupted; without examples for a corruption of
      pixels, which may depend on an image's id and pixels only.
  """

  data_seed: int
  info: DatasetInfo
  image_size: int
  split: Split = Split()


def default_framing(
  pipeline: str, central_fraction: float, image_size: int
) -> str:
  """Returns "crop" or "resize": the framing of a config that names none.

  Args:
    pipeline: "resident" crops; "stream" resizes, as long as there is a part of
      the image to keep and a size for it.
    central_fraction: of a streamed image; 0 crops.
    image_size: in pixels; 0, the whole image, crops.
  """
  streamed = pipeline == "stream"
  return "resize" if streamed and central_fraction and image_size else "crop"


def center_crop(image: Any, size: int) -> Any:
  """Cuts the central [..., size, size, channels] out of NumPy or JAX images."""
  top = (image.shape[-3] - size) // 2
  left = (image.shape[-2] - size) // 2
  return image[..., top : top + size, left : left + size, :]


def moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """Returns each channel's mean and population standard deviation.

  Args:
    images: uint8[n, height, width, channels].

  Returns:
    (means, standard deviations), one number per channel each.
  """
  counts = [
    np.bincount(images[..., c].reshape(-1), minlength=256)
    for c in range(images.shape[-1])
  ]
  return moments_of_counts(np.stack(counts))


def moments_of_counts(
  counts: np.ndarray,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """Computes `moments` from the histograms int64[channels, 256] of values."""
  # Integer sums are exact in any order, so that Gaussian images drawn from
  # these moments have the same bits everywhere.
  values = np.arange(256)
  mean, std = [], []
  for count in counts:
    n, s1 = int(count.sum()), int(count @ values)
    s2 = int(count @ values**2)
    mean.append(s1 / n)
    std.append(((n * s2 - s1 * s1) / n**2) ** 0.5)
  return tuple(mean), tuple(std)
