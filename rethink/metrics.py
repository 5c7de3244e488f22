"""Masked sums and counts, divided once: no mean of batch means."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

# What every row of metrics.jsonl holds of the two clean passes; those of data
# sets with more than _TOP classes have top-5 accuracies as well.
NAMES = (
  "train/loss",
  "train/accuracy",
  "train/true_loss",
  "train/true_accuracy",
  "test/loss",
  "test/accuracy",
  "test/corrupted_loss",
  "test/corrupted_accuracy",
)
_TOP = 5


class Sums(NamedTuple):
  """Sums over examples; scalars.

  Attributes:
    loss: float32, plain cross-entropy against `label`, in nats.
    correct: int32, top-1 hits against `label`.
    top5: int32, examples whose `label` is among the five likeliest classes.
    true_loss: as `loss`, against `true_label`.
    true_correct: as `correct`, against `true_label`.
    true_top5: as `top5`, against `true_label`.
    clean_correct: as `correct`, of examples whose two labels are equal.
    clean_count: int32, examples whose two labels are equal.
    count: int32, examples.
  """

  loss: jax.Array
  correct: jax.Array
  top5: jax.Array
  true_loss: jax.Array
  true_correct: jax.Array
  true_top5: jax.Array
  clean_correct: jax.Array
  clean_count: jax.Array
  count: jax.Array

  def __add__(self, other: "Sums") -> "Sums":  # pyright: ignore
    return Sums(*(a + b for a, b in zip(self, other, strict=True)))


def zeros() -> Sums:
  """Sums over no examples."""
  f, i = jnp.float32(0), jnp.int32(0)
  return Sums(f, i, i, f, i, i, i, i, i)


def sums(
  logits: jax.Array,
  labels: jax.Array,
  true_labels: jax.Array,
  mask: jax.Array | None = None,
) -> Sums:
  """Sums over a batch.

  Args:
    logits: float32[batch, classes].
    labels: int32[batch].
    true_labels: int32[batch].
    mask: bool[batch], False for padding; None counts every row.
  """
  mask = jnp.ones(len(labels), bool) if mask is None else mask
  predicted = logits.argmax(-1)
  clean = (labels == true_labels) & mask

  def against(target):
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    hit = predicted == target
    top5 = _rank(logits, target) < _TOP
    return (
      jnp.sum(loss, where=mask),
      jnp.sum(hit & mask, dtype=jnp.int32),
      jnp.sum(top5 & mask, dtype=jnp.int32),
    )

  return Sums(
    *against(labels),
    *against(true_labels),
    jnp.sum((predicted == labels) & clean, dtype=jnp.int32),
    jnp.sum(clean, dtype=jnp.int32),
    jnp.sum(mask, dtype=jnp.int32),
  )


def _rank(logits: jax.Array, target: jax.Array) -> jax.Array:
  """int32[batch]: how many classes come before the target's, likeliest first.

  Of equal logits the first class comes first, as for `argmax`: a network that
  tells nothing apart has no hits from ties.
  """
  own = jnp.take_along_axis(logits, target[:, None], axis=-1)
  earlier = jnp.arange(logits.shape[-1])[None] < target[:, None]
  before = (logits > own) | ((logits == own) & earlier)
  return jnp.sum(before, axis=-1, dtype=jnp.int32)


class Each(NamedTuple):
  """What is known of each example of a split, padded to whole batches.

  Attributes:
    loss: float32[padded], plain cross-entropy against `label`, in nats.
    correct: bool[padded], top-1 hits against `label`.
  """

  loss: jax.Array
  correct: jax.Array


def each(logits: jax.Array, labels: jax.Array) -> Each:
  """Loss and hit of each row of float32[batch, classes]."""
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return Each(loss, logits.argmax(-1) == labels)


def train_means(split: Sums, num_classes: int) -> dict[str, float]:
  """Training is about fitting: the plain names are against `label`.

  Where labels are corrupted in part, accuracies on the examples that kept their
  label and on the others stand beside them.
  """
  label, true = _means(split)
  means = {
    "train/loss": label[0],
    "train/accuracy": label[1],
    "train/true_loss": true[0],
    "train/true_accuracy": true[1],
  }
  if num_classes > _TOP:
    means["train/top5_accuracy"] = label[2]
  clean, corrupted = (
    int(split.clean_count),
    int(split.count - split.clean_count),
  )
  if clean and corrupted:
    means["train/accuracy_on_clean"] = int(split.clean_correct) / clean
    means["train/accuracy_on_corrupted"] = (
      int(split.correct - split.clean_correct) / corrupted
    )
  return means


def test_means(split: Sums, num_classes: int) -> dict[str, float]:
  """Testing is about predicting: the plain names are against `true_label`.

  `test/corrupted_*` are against test labels corrupted like the training labels,
  which is what Figure 1c shows.
  """
  label, true = _means(split)
  means = {
    "test/loss": true[0],
    "test/accuracy": true[1],
    "test/corrupted_loss": label[0],
    "test/corrupted_accuracy": label[1],
  }
  if num_classes > _TOP:
    means["test/top5_accuracy"] = true[2]
  return means


def _means(split: Sums) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """(loss, accuracy, top-5 accuracy) against `label` and `true_label`."""
  count = float(split.count)
  label = split.loss, split.correct, split.top5
  true = split.true_loss, split.true_correct, split.true_top5
  return (
    tuple(float(value) / count for value in label),
    tuple(float(value) / count for value in true),
  )
