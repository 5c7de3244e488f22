"""Ceilings, floors and duplicates: the bounds that labels and images set.

A network maps equal images to equal outputs. So where equal images have
different labels, no network can fit all of them, and a fit is to be judged by
the best that any function of the pixels could do.
"""

import hashlib
import math
from typing import NamedTuple

import numpy as np

from rethink import example

_BYTES = 2**24  # of the pixels that are made contiguous at a time


class Bounds(NamedTuple):
  """The best that a function of the images can do on labelled examples.

  Attributes:
    accuracy: the highest accuracy, a fraction.
    loss: the lowest mean cross-entropy, in nats: the entropy of the label given
      the image; 0.0 exactly if equal images have equal labels.
    conflicts: examples whose image also stands with another label.
  """

  accuracy: float
  loss: float
  conflicts: int


def digests(images: np.ndarray, size: int) -> np.ndarray:
  """Returns a digest of each image's central pixels, uint64[n].

  Of a million images two that differ share one with a probability of 3e-8.

  Args:
    images: uint8[n, height, width, channels].
    size: side of the centre crop that a model sees, in pixels.
  """
  seen = example.center_crop(images, size)
  found = bytearray()
  step = max(1, _BYTES // max(1, math.prod(seen.shape[1:])))
  for start in range(0, len(seen), step):
    block = np.ascontiguousarray(seen[start : start + step])
    for row in block.reshape(len(block), -1):
      found += hashlib.blake2b(row, digest_size=8).digest()
  return np.frombuffer(bytes(found), np.uint64)


def bounds(images: np.ndarray, labels: np.ndarray) -> Bounds:
  """Returns what no function of the images can surpass.

  Args:
    images: [n] values that are equal for equal images, such as `digests`.
    labels: int[n], from 0.
  """
  n = len(labels)
  _, group = np.unique(images, return_inverse=True)
  classes = int(labels.max()) + 1
  pairs, counts = np.unique(
    group.reshape(-1) * np.int64(classes) + labels, return_counts=True
  )
  of = pairs // classes  # the group of each pair of image and label
  sizes = np.bincount(of, counts).astype(np.int64)
  best = np.zeros(len(sizes), np.int64)
  np.maximum.at(best, of, counts)
  # Where a group has one label the logarithm is that of 1, exactly 0.
  losses = counts * np.log(sizes[of] / counts)
  mixed = np.bincount(of) > 1
  return Bounds(
    int(best.sum()) / n, float(losses.sum()) / n, int(sizes[mixed].sum())
  )


def facts(
  train: example.Example,
  test: example.Example,
  size: int,
  evaluated: np.ndarray | None = None,
) -> dict[str, int | float]:
  """Returns what status.json keeps as `attainable`.

  Args:
    train: as it is learned: after all corruptions.
    test: likewise.
    size: side of the centre crop that a model sees, in pixels.
    evaluated: int[k] rows of `train` that clean passes go over; None is all.
  """
  known, tested = digests(train.image, size), digests(test.image, size)
  label = train.label
  rows = np.arange(len(label)) if evaluated is None else evaluated
  best = bounds(known[rows], label[rows])
  return {
    **of_labels(train.label, test.true_label),
    "train_accuracy_ceiling": best.accuracy,
    "train_loss_floor": best.loss,
    "train_conflicts": best.conflicts,
    "train_duplicates": len(known) - len(np.unique(known)),
    "test_duplicates": int(np.isin(tested, known).sum()),
  }


def of_labels(label: np.ndarray, true_label: np.ndarray) -> dict[str, float]:
  """Returns the accuracies of answers that do not look at the image.

  Args:
    label: int[n], of the training examples as they are learned.
    true_label: int[m], of the test examples.

  Returns:
    `train_majority` and `test_majority`, of the commonest label of each;
    `chance`, on the test examples, of labels drawn like the training labels.
  """
  classes = int(max(label.max(), true_label.max())) + 1
  learned = np.bincount(label, minlength=classes) / len(label)
  tested = np.bincount(true_label, minlength=classes) / len(true_label)
  return {
    "train_majority": float(learned.max()),
    "test_majority": float(tested.max()),
    "chance": float(learned @ tested),
  }


# Of a split that stays on disk: its images are not compared.
UNKNOWN = dict.fromkeys(
  (
    "train_accuracy_ceiling",
    "train_loss_floor",
    "train_conflicts",
    "train_duplicates",
    "test_duplicates",
  )
)
