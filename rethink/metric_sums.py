"""Masked sums of metrics, divided once by the count: no mean of batch means."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rethink import errors, metric_names, metrics


class Sums(NamedTuple):
  """Sums over examples; scalars. Hits are counted in int32, the rest float32.

  Attributes:
    label: metric name to its sum against `label`.
    true_label: metric name to its sum against `true_label`.
    clean_correct: int32, top-1 hits among examples whose two labels are equal.
    clean_count: int32, examples whose two labels are equal.
    count: int32, examples.
  """

  label: dict[str, jax.Array]
  true_label: dict[str, jax.Array]
  clean_correct: jax.Array
  clean_count: jax.Array
  count: jax.Array


class BatchSums(NamedTuple):
  """Sums over training batches, in training mode; a part of saved states.

  That is why they do not depend on the metrics of a run, or of a version.

  Attributes:
    loss: float32, cross-entropy against `label`, in nats.
    true_loss: the same against `true_label`. No row has it, but without it XLA
      would fuse the other loss differently, and round its last bit otherwise
      than in earlier versions.
    correct: int32, top-1 hits against `label`.
    count: int32, examples.
  """

  loss: jax.Array
  true_loss: jax.Array
  correct: jax.Array
  count: jax.Array


def add(one: Any, other: Any) -> Any:
  """Returns the sums over the examples of both; `+` would join the tuples."""
  return jax.tree.map(jnp.add, one, other)


def no_batches() -> BatchSums:
  """Returns the sums over no batches."""
  f, i = jnp.float32(0), jnp.int32(0)
  return BatchSums(f, f, i, i)


def of_batch(
  logits: jax.Array, labels: jax.Array, true_labels: jax.Array
) -> BatchSums:
  """Returns the sums over a training batch.

  Args:
    logits: float32[batch, classes].
    labels: int32[batch].
    true_labels: int32[batch].
  """
  mask = jnp.ones(len(labels), bool)
  return BatchSums(
    _sum(metrics.loss(logits, labels), mask),
    _sum(metrics.loss(logits, true_labels), mask),
    _sum(metrics.accuracy(logits, labels), mask),
    jnp.sum(mask, dtype=jnp.int32),
  )


def sums(
  logits: jax.Array,
  labels: jax.Array,
  true_labels: jax.Array,
  mask: jax.Array | None = None,
  further: Sequence[metric_names.Metric] = (),
) -> Sums:
  """Returns the sums over a batch of an evaluated split.

  Args:
    logits: float32[batch, classes].
    labels: int32[batch].
    true_labels: int32[batch].
    mask: bool[batch], False for padding; None counts every row.
    further: metrics beside the built-in ones.

  Raises:
    ConfigError: if a further metric returns no number for each example.
  """
  mask = jnp.ones(len(labels), bool) if mask is None else mask
  clean = (labels == true_labels) & mask

  def against(target: jax.Array) -> dict[str, jax.Array]:
    each = {
      "loss": metrics.loss(logits, target),
      "accuracy": metrics.accuracy(logits, target),
    }
    if logits.shape[-1] > metric_names.TOP:
      each[metric_names.TOP_NAME] = metrics.top_k_accuracy(
        logits, target, metric_names.TOP
      )
    for metric in further:
      values = metric(logits, target)
      each[metric.name] = _checked(values, len(labels), metric.text)
    return {name: _sum(values, mask) for name, values in each.items()}

  return Sums(
    against(labels),
    against(true_labels),
    jnp.sum(metrics.accuracy(logits, labels) & clean, dtype=jnp.int32),
    jnp.sum(clean, dtype=jnp.int32),
    jnp.sum(mask, dtype=jnp.int32),
  )


def _sum(values: jax.Array, mask: jax.Array) -> jax.Array:
  if _is_hit(values):
    return jnp.sum(values & mask, dtype=jnp.int32)
  return jnp.sum(values.astype(jnp.float32), where=mask)


def _is_hit(values: jax.Array) -> bool:
  return values.dtype == jnp.bool_


def _checked(values: Any, batch: int, text: str) -> jax.Array:
  """Returns what a metric returned, if it is a number for each example."""
  shape = getattr(values, "shape", None)
  if shape == (batch,):
    if _is_hit(values) or jnp.issubdtype(values.dtype, jnp.floating):
      return jnp.asarray(values)
  found = type(values).__name__
  if shape is not None:
    found = f"{values.dtype}{list(shape)}"
  raise errors.ConfigError(
    f"config.metrics: {text} returns {found} for {batch} examples; a metric"
    f" returns a float or a bool for each of them, such as float32[{batch}]"
  )


def check(further: Sequence[metric_names.Metric], num_classes: int) -> None:
  """Traces the metrics of a config before anything is trained.

  Raises:
    ConfigError: if a metric returns no number for each example.
  """
  batch = num_classes + 1  # so that a number per class is not one per example
  logits = jax.ShapeDtypeStruct((batch, num_classes), jnp.float32)
  labels = jax.ShapeDtypeStruct((batch,), jnp.int32)
  jax.eval_shape(
    lambda *arrays: sums(*arrays, further=further),
    *(logits, labels, labels),
  )


def train_means(split: Sums) -> dict[str, float]:
  """Returns the metrics of the training split.

  Where labels are corrupted in part, accuracies on the examples that kept their
  label and on the others stand beside them.
  """
  means = _means("train", split.label, "true_", split.true_label, split.count)
  clean, corrupted = (
    int(split.clean_count),
    int(split.count - split.clean_count),
  )
  if clean and corrupted:
    hits = split.label["accuracy"]
    means["train/accuracy_on_clean"] = int(split.clean_correct) / clean
    means["train/accuracy_on_corrupted"] = (
      int(hits - split.clean_correct) / corrupted
    )
  return means


def test_means(split: Sums) -> dict[str, float]:
  """Returns the metrics of the test split."""
  return _means(
    "test", split.true_label, "corrupted_", split.label, split.count
  )


def _means(
  split: str,
  plain: Mapping[str, Any],
  prefix: str,
  other: Mapping[str, Any],
  count: Any,
) -> dict[str, float]:
  """Returns the rows' means of sums against the two labels."""

  def mean(found: Mapping[str, Any], name: str) -> float:
    return float(found[name]) / float(count)

  means = {
    f"{split}/{name}": mean(plain, name) for name in metric_names.BUILT_IN
  }
  means |= {
    f"{split}/{prefix}{name}": mean(other, name)
    for name in metric_names.BUILT_IN
  }
  if metric_names.TOP_NAME in plain:
    means[f"{split}/{metric_names.TOP_NAME}"] = mean(
      plain, metric_names.TOP_NAME
    )
  for name in sorted(
    plain.keys() - {*metric_names.BUILT_IN, metric_names.TOP_NAME}
  ):
    means[f"{split}/{name}"] = mean(plain, name)
    means[f"{split}/{prefix}{name}"] = mean(other, name)
  return means
