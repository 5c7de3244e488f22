"""Every public function destroys a chosen part of a data set's structure.

Its first parameters say what it changes:

  (ids, labels, context, ...)          labels
  (ids, labels, images, context, ...)  labels, in view of the images
  (ids, images, context, ...)          pixels

`ids` are uint64[n], `labels` int32[n], `images` uint8[n, height, width,
channels], none of which can be written to; `context` is an `example.Context`.
It returns labels from 0 to K - 1, or uint8 images (of the same size, or cropped
to `context.image_size`), or a pair of these and of facts for status.json: a
dict of JSON values, where `probability` is the nominal one of a label. The
other parameters, all annotated, are the arguments that a config may give.

It is a pure function of (data_seed, id), of what else it is given of an example
and of `context`: the same in any order, batch size and process, fixed over
epochs. `true_label` is not changed by anything.

Definitions: Zhang et al. (2017), section 2.1, where nothing else is said.
Labels of test examples are changed like those of training examples; evaluation
reports accuracy against both `true_label` and `label`, so the clean test set is
never lost.
"""

import math

import numpy as np

from rethink import bits, example, specs
from rethink.corrupting import (
  instance_noise,
  kinds,
  label_files,
  permutations,
  transitions,
)

# What a function gets first, by position, depends on its kind.
LEADING = kinds.leading

Changed = tuple[np.ndarray, dict]  # labels or images, and facts


def partially_corrupted_labels(
  ids: np.ndarray,
  labels: np.ndarray,
  context: example.Context,
  p: specs.Fraction,
) -> Changed:
  """With probability p, a label is replaced by a class drawn uniformly.

  The class is drawn from all K, so it may equal the old one: a fraction
  p (1 - 1/K) really changes. Nested in p: what is corrupted at p = 0.2 is
  corrupted alike at p = 0.4; for this reason two of these calls in one config
  corrupt no more than the one with the larger p.

  Args:
    p: corruption probability.
  """
  seed, classes = context.data_seed, context.info.num_classes
  coin = bits.uniform(bits.bits(seed, "label/coin", ids)[:, 0])
  draw = bits.integers(bits.bits(seed, "label/class", ids)[:, 0], classes)
  return np.where(coin < p, draw, labels), {"probability": p}


def random_labels(
  ids: np.ndarray, labels: np.ndarray, context: example.Context
) -> Changed:
  """Every label is replaced: `partially_corrupted_labels` at p = 1."""
  return partially_corrupted_labels(ids, labels, context, 1.0)


def permuted_labels(
  ids: np.ndarray,
  labels: np.ndarray,
  context: example.Context,
  p: specs.Fraction = 1.0,
) -> Changed:
  """Labels change places among examples, so class counts stay exact.

  An example takes part with probability p; a permutation drawn uniformly
  exchanges the labels of those that do. The examples are those that the run
  uses: the subset of `train_examples`, if there is one, and the test split for
  itself. Another subset has another permutation, and so has another p.

  Args:
    p: probability that an example takes part.
  """
  seed, split = context.data_seed, context.split
  coin = bits.uniform(bits.bits(seed, "permuted/coin", split.id)[:, 0])
  places = np.flatnonzero(coin < p)
  words = bits.bits(seed, "permuted/order", split.id[places])[:, 0]
  permuted = split.label.copy()
  permuted[places] = split.label[places[bits.permutation(words)]]
  rows = np.searchsorted(split.id, ids)
  return permuted[rows].astype(labels.dtype), {"probability": p}


def class_dependent_labels(
  ids: np.ndarray,
  labels: np.ndarray,
  context: example.Context,
  to: tuple,
  p: specs.Fraction = 1.0,
) -> Changed:
  """With probability p, a label is replaced by one that its class says.

  Nested in p, as `partially_corrupted_labels`.

  Args:
    to: for each class a row of K probabilities, floats with the sum 1, from
      which the new label is drawn (a noise transition matrix); or pairs of
      class indices, {3: 5, 5: 3} or ((3, 5), (5, 3)): 3 becomes 5, 5 becomes
      3, other classes keep their labels.
    p: corruption probability of an example; of those in such pairs, if `to`
      consists of pairs.

  Raises:
    ConfigError: if `to` is neither.
  """
  seed = context.data_seed
  coin = bits.uniform(bits.bits(seed, "class_dependent/coin", ids)[:, 0])
  draw = bits.uniform(bits.bits(seed, "class_dependent/class", ids)[:, 0])
  changed = labels.copy()
  for old, row in transitions.rows(to, context.info.num_classes).items():
    members = np.flatnonzero((labels == old) & (coin < p))
    below = np.cumsum(row)
    new = np.searchsorted(below, draw[members] * below[-1], side="right")
    changed[members] = np.minimum(new, np.flatnonzero(row)[-1])
  return changed, {"probability": p}


def instance_dependent_labels(
  ids: np.ndarray,
  labels: np.ndarray,
  images: np.ndarray,
  context: example.Context,
  p: specs.Fraction,
) -> Changed:
  """Images decide how probably a label changes, and to which class.

  Xia et al. (2020), Algorithm 2, in the version without parts that is widely
  used. Each example has a flip rate q, drawn from a normal distribution with
  mean p and standard deviation 0.1 that is cut to [0, 1] (at p = 0 the mean
  rate is therefore 0.08). Each class has K directions W ~ N(0, 1). An image x
  of class y keeps y with probability 1 - q and else becomes another class j
  with probability softmax(x W_y)_j, without y itself. Nested in p.

  x is the whole image that the corruptions before this one have left, each
  channel standardized by the mean and std of the clean training split.

  Args:
    p: mean flip rate; as no label stays by chance, the expected fraction of
      labels that changes is the mean rate.

  Raises:
    ConfigError: if K x K x values of an image are too many to draw.
  """
  seed, info = context.data_seed, context.info
  rate = instance_noise.rates(seed, ids, p)
  coin = bits.uniform(bits.bits(seed, "instance/coin", ids)[:, 0])
  draw = bits.uniform(bits.bits(seed, "instance/class", ids)[:, 0])
  changed, rows = labels.copy(), np.flatnonzero(coin < rate)
  old = labels[rows]
  logits = instance_noise.logits(
    seed, images[rows], old, info.num_classes, info.mean, info.std
  )
  logits[np.arange(len(rows)), old] = -np.inf
  weights = np.exp(logits - logits.max(1, keepdims=True))
  below = np.cumsum(weights, axis=1)
  new = (below <= draw[rows, None] * below[:, -1:]).sum(1)
  changed[rows] = np.minimum(new, info.num_classes - 1)
  return changed, {"probability": p}


def labels_from_file(
  ids: np.ndarray,
  labels: np.ndarray,
  context: example.Context,
  path: specs.InputFile,
  partial: bool = False,
) -> Changed:
  """Labels of the user's own for the training split; test labels stay.

  The file's content is part of a run's fingerprint: a run does not go on with
  another one.

  Args:
    path: a CSV file with a header, or an npz archive: `name` of an example (or
      `index`, where examples are stored without names and counted from 0) and
      `label`, a class name or its position.
    partial: examples that the file does not name keep their labels.

  Raises:
    DataError: naming the file and what is missing, unknown, twice or no class.
  """
  if not context.split.training:
    return labels, {}
  file = label_files.read(path, context.info.class_names)
  named = label_files.matched(file, context, partial)
  order = np.argsort(named)
  rows = order[np.searchsorted(named[order], ids).clip(max=len(order) - 1)]
  changed = np.where(named[rows] == ids, file.labels[rows], labels)
  return changed, {"digest": file.digest, "named": len(named)}


def shuffled_pixels(
  ids: np.ndarray,
  images: np.ndarray,
  context: example.Context,
  channels_together: bool = True,
  after_crop: bool = True,
) -> Changed:
  """One permutation of the pixels, the same for every image of every split.

  Args:
    channels_together: move the channels of a pixel as one (the paper does not
      say); otherwise each channel has a permutation of its own.
    after_crop: permute the centre crop that the model sees (the paper does not
      say); otherwise the whole image.
  """

  def words(ids, n):
    del ids  # one row, which broadcasts over the images
    return bits.bits(context.data_seed, "shuffled_pixels", np.zeros(1), n)

  if after_crop:
    images = example.center_crop(images, context.image_size)
  return permutations.permuted(ids, images, words, channels_together), {}


def random_pixels(
  ids: np.ndarray,
  images: np.ndarray,
  context: example.Context,
  channels_together: bool = True,
  after_crop: bool = True,
) -> Changed:
  """Another permutation of the pixels for each image; arguments as above."""

  def words(ids, n):
    return bits.bits(context.data_seed, "random_pixels", ids, n)

  if after_crop:
    images = example.center_crop(images, context.image_size)
  return permutations.permuted(ids, images, words, channels_together), {}


def gaussian(
  ids: np.ndarray,
  images: np.ndarray,
  context: example.Context,
  per_channel: bool = True,
) -> Changed:
  """Noise with the training set's mean and variance replaces every image.

  Values are rounded and clipped to uint8, so the achieved moments, which are
  reported, differ from the requested ones.

  Args:
    per_channel: match each channel of the clean training split (the paper does
      not say); otherwise all channels share one mean and one std.
  """
  mean, std = np.array(context.info.mean), np.array(context.info.std)
  if not per_channel:
    total = np.sqrt(np.mean(std**2 + mean**2) - np.mean(mean) ** 2)
    std, mean = np.full_like(std, total), np.full_like(mean, mean.mean())
  noise = np.empty_like(images)
  values = math.prod(images.shape[1:3]) * len(mean)
  for block in permutations.blocks(len(noise), values):
    words = bits.bits(context.data_seed, "gaussian", ids[block], values)
    high = (words >> np.uint64(32)).astype(np.uint32)
    high = high.reshape(-1, *noise.shape[1:])
    for c, moments in enumerate(zip(mean, std, strict=True)):
      noise[block, :, :, c] = bits.rounded_normal(high[..., c], *moments)
  achieved = example.moments(noise)
  report = {
    "mean": achieved[0],
    "std": achieved[1],
    "requested_mean": mean.tolist(),
    "requested_std": std.tolist(),
  }
  rounded = {k: [round(v, 4) for v in values] for k, values in report.items()}
  return noise, rounded
