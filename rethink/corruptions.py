"""Every public function destroys a chosen part of a data set's structure.

A corruption is a pure function of (data_seed, id): the same in any order, batch
size and process, fixed over epochs. It maps `(examples, context)` to the
corrupted examples and a report of what was done, a dict of JSON values. It may
change `label` and `image`; never `id` and `true_label`.

Definitions: Zhang et al. (2017), section 2.1. Labels of test examples are
changed like those of training examples; evaluation reports accuracy against
both `true_label` and `label`, so the clean test set is never lost.
"""

import math
from collections.abc import Callable

import numpy as np

from rethink import bits, example, specs

# What every public function gets first, by position.
LEADING = ("examples", "context")

_WORDS = 2**22  # at a time: bounds memory to some 100 MB, changes nothing

Corrupted = tuple[example.Example, dict]


def partially_corrupted_labels(
  examples: example.Example, context: example.Context, p: specs.Fraction
) -> Corrupted:
  """With probability p, a label is replaced by a class drawn uniformly.

  The class is drawn from all K, so it may equal the old one: a fraction
  p (1 - 1/K) really changes. Nested in p: what is corrupted at p = 0.2 is
  corrupted alike at p = 0.4; for this reason two of these calls in one config
  corrupt no more than the one with the larger p.

  Args:
    examples: any number of examples.
    context: gives data_seed and the number of classes.
    p: corruption probability.
  """
  seed, classes = context.data_seed, context.info.num_classes
  coin = bits.uniform(bits.bits(seed, "label/coin", examples.id)[:, 0])
  draw = bits.integers(
    bits.bits(seed, "label/class", examples.id)[:, 0], classes
  )
  label = np.where(coin < p, draw, examples.label).astype(np.int32)
  return examples._replace(label=label), {"probability": p}


def random_labels(
  examples: example.Example, context: example.Context
) -> Corrupted:
  """Every label is replaced: `partially_corrupted_labels` at p = 1."""
  return partially_corrupted_labels(examples, context, 1.0)


def shuffled_pixels(
  examples: example.Example,
  context: example.Context,
  channels_together: bool = True,
  after_crop: bool = True,
) -> Corrupted:
  """One permutation of the pixels, the same for every image of every split.

  Args:
    examples: any number of examples.
    context: gives data_seed and image_size.
    channels_together: move the channels of a pixel as one (the paper does not
      say); otherwise each channel has a permutation of its own.
    after_crop: permute the centre crop that the model sees (the paper does not
      say); otherwise the whole image.
  """

  def words(ids, n):
    del ids  # one row, which broadcasts over the images
    return bits.bits(context.data_seed, "shuffled_pixels", np.zeros(1), n)

  return _permuted(examples, context, words, channels_together, after_crop), {}


def random_pixels(
  examples: example.Example,
  context: example.Context,
  channels_together: bool = True,
  after_crop: bool = True,
) -> Corrupted:
  """Another permutation of the pixels for each image; arguments as above."""

  def words(ids, n):
    return bits.bits(context.data_seed, "random_pixels", ids, n)

  return _permuted(examples, context, words, channels_together, after_crop), {}


def gaussian(
  examples: example.Example,
  context: example.Context,
  per_channel: bool = True,
) -> Corrupted:
  """Noise with the training set's mean and variance replaces every image.

  Values are rounded and clipped to uint8, so the achieved moments, which are
  reported, differ from the requested ones.

  Args:
    examples: any number of examples.
    context: gives data_seed, and mean and std of the clean training split.
    per_channel: match each channel (the paper does not say); otherwise all
      channels share one mean and one std.
  """
  mean, std = np.array(context.info.mean), np.array(context.info.std)
  if not per_channel:
    total = np.sqrt(np.mean(std**2 + mean**2) - np.mean(mean) ** 2)
    std, mean = np.full_like(std, total), np.full_like(mean, mean.mean())
  thresholds = [
    _normal_thresholds(m, s) for m, s in zip(mean, std, strict=True)
  ]
  pixels = math.prod(examples.image.shape[1:3])
  image = np.empty_like(examples.image)
  values = pixels * len(mean)
  for block in _blocks(len(image), values):
    words = bits.bits(context.data_seed, "gaussian", examples.id[block], values)
    high = (words >> np.uint64(32)).astype(np.uint32)
    high = high.reshape(-1, *image.shape[1:])
    for c, threshold in enumerate(thresholds):
      image[block, :, :, c] = np.searchsorted(
        threshold, high[..., c], side="right"
      )
  achieved = example.moments(image)
  report = {
    "mean": achieved[0],
    "std": achieved[1],
    "requested_mean": mean.tolist(),
    "requested_std": std.tolist(),
  }
  rounded = {k: [round(v, 4) for v in values] for k, values in report.items()}
  return examples._replace(image=image), rounded


def _normal_thresholds(mean: float, std: float) -> np.ndarray:
  """uint32[255]: a 32-bit word maps to the number of thresholds <= it.

  Inverting the distribution by a table keeps noise free of log and cos, whose
  last bits differ between libraries.
  """
  edges = (np.arange(255) + 0.5 - mean) / max(std, 1e-9)
  below = [0.5 * math.erfc(-edge / math.sqrt(2)) for edge in edges]
  return np.round(np.array(below) * (2**32 - 1)).astype(np.uint32)


def _permuted(
  examples: example.Example,
  context: example.Context,
  words: Callable[[np.ndarray, int], np.ndarray],
  channels_together: bool,
  after_crop: bool,
) -> example.Example:
  image = examples.image
  if after_crop:
    image = example.center_crop(image, context.image_size)
  n, height, width, channels = image.shape
  pixels, sets = height * width, 1 if channels_together else channels
  out = np.empty(image.shape, np.uint8)
  for block in _blocks(n, pixels * sets):
    drawn = words(examples.id[block], pixels * sets)
    order = bits.permutation(drawn.reshape(len(drawn), sets, pixels))
    order = order.swapaxes(1, 2)  # [block, pixels, 1 or channels]
    flat = image[block].reshape(-1, pixels, channels)
    out[block] = np.take_along_axis(flat, order, axis=1).reshape(
      -1, height, width, channels
    )
  return examples._replace(image=out)


def _blocks(n: int, words_per_image: int):
  size = max(1, _WORDS // words_per_image)
  return (slice(start, start + size) for start in range(0, n, size))
