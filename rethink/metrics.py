"""Every public function is a metric: logits and labels to a number per example.

A metric maps `logits`, float32[batch, classes], and `labels`, int32[batch], to
float32[batch] or bool[batch]; a run logs the mean over a split's examples.
`config.metrics` names the ones that are logged beside `loss` and `accuracy`,
and beside the top-5 accuracy of data sets with more than five classes. Further
arguments may be set there; they are static, as the name of a row contains them.
"""

import jax
import jax.numpy as jnp
import optax

from rethink import errors

# What every public function gets first, by position.
LEADING = ("logits", "labels")


def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns the cross-entropy of each example, in nats."""
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns whether the label is the likeliest class of each example.

  Of equal logits the first class is the likeliest.
  """
  return logits.argmax(-1) == labels


def top_k_accuracy(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
  """Returns whether the label is among the k likeliest classes.

  Of equal logits the first class comes first, as for `argmax`: a network that
  tells nothing apart has no hits from ties.

  Raises:
    ConfigError: if k is below 1, or above the number of classes.
  """
  classes = logits.shape[-1]
  if not 1 <= k <= classes:
    raise errors.ConfigError(
      f"config.metrics: top_k_accuracy(k={k}) needs a k from 1 to the number of"
      f" classes, {classes}"
    )
  own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
  earlier = jnp.arange(classes)[None] < labels[:, None]
  before = (logits > own) | ((logits == own) & earlier)
  return jnp.sum(before, axis=-1, dtype=jnp.int32) < k


def margin(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns the label's logit less the largest of the other classes.

  Positive where the label wins. It grows with the scale of the logits.
  """
  is_label = jnp.arange(logits.shape[-1])[None] == labels[:, None]
  own = jnp.max(logits, axis=-1, where=is_label, initial=-jnp.inf)
  other = jnp.max(logits, axis=-1, where=~is_label, initial=-jnp.inf)
  return own - other


def brier(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns the squared distance of the probabilities from the one-hot label.

  From 0, certain and right, to 2, certain and wrong; summed over classes as by
  Brier (1950).
  """
  probabilities = jax.nn.softmax(logits)
  one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
  return jnp.sum(jnp.square(probabilities - one_hot), axis=-1)


def confidence(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns the probability of the likeliest class, whatever the label.

  A mean confidence above the accuracy is overconfidence.
  """
  del labels
  return jnp.max(jax.nn.softmax(logits), axis=-1)


# Read by `bookkeeping.best_metric`; of other metrics the highest is the best.
for _metric in (loss, brier):
  _metric.lower_is_better = True  # pyright: ignore[reportFunctionMemberAccess]
