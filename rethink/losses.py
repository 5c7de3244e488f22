"""Every public function is a loss: (logits, targets) -> one number an example.

`logits` and `targets` are float32[batch, classes], the loss is float32[batch].
A row of `targets` is a distribution over the classes: one-hot, or mixed by a
regularizer such as label smoothing. The training step takes the mean over the
batch; metrics named `*/loss` stay plain cross-entropy. Float arguments may be
traced.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from rethink import specs

# What every public function gets first, by position.
LEADING = ("logits", "targets")


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Cross-entropy of the softmax against the targets, in nats."""
  return optax.softmax_cross_entropy(logits, targets)


def squared_error(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Mean over the classes of the squared distance from logit to target.

  The logits themselves are fitted to the targets, without a softmax, as in Hui
  & Belkin (2021), whose rescaling for many classes is left out.
  """
  return jnp.mean(jnp.square(logits - targets), axis=-1)


def generalized_cross_entropy(
  logits: jax.Array, targets: jax.Array, q: specs.Fraction = 0.7
) -> jax.Array:
  """Box-Cox loss (1 - p^q) / q of the target's probability p.

  Zhang & Sabuncu (2018), without their truncation; soft targets weigh the
  losses of the classes.

  Args:
    q: 0 is cross-entropy, 1 is half the mean absolute error, which noisy labels
      disturb least and which is the slowest to train.
  """
  log_p = jax.nn.log_softmax(logits)
  # expm1 keeps the digits that 1 - p^q loses for small q.
  box_cox = -jnp.expm1(q * log_p) / jnp.where(q > 0, q, 1.0)
  return jnp.sum(targets * jnp.where(q > 0, box_cox, -log_p), axis=-1)


def symmetric_cross_entropy(
  logits: jax.Array,
  targets: jax.Array,
  alpha: specs.NotNegative = 0.1,
  beta: specs.NotNegative = 1.0,
  log_zero: Annotated[float, specs.Range(-80.0, 0.0)] = -9.2,
) -> jax.Array:
  """Adds the cross-entropy of the targets against the softmax (Wang 2019).

  The loss is alpha * CE(targets, softmax) + beta * CE(softmax, targets).

  Args:
    alpha: weight of the usual cross-entropy.
    beta: weight of the reverse one, which is bounded.
    log_zero: stands for the logarithm of a target of 0 (A in the paper) and of
      all others below exp(log_zero). The authors' program clips targets at
      1e-4, whose logarithm is about -9.2.
  """
  log_targets = jnp.log(jnp.maximum(targets, jnp.exp(log_zero)))
  reverse = -jnp.sum(jax.nn.softmax(logits) * log_targets, axis=-1)
  return alpha * cross_entropy(logits, targets) + beta * reverse


def bootstrapped(
  logits: jax.Array, targets: jax.Array, beta: specs.Fraction = 0.95
) -> jax.Array:
  """Cross-entropy against targets mixed with the model's own predictions.

  Soft bootstrapping of Reed et al. (2015). The gradient passes through the
  predictions, too, so that their entropy is regularized.

  Args:
    beta: weight of the given targets; the predictions have the rest.
  """
  log_p = jax.nn.log_softmax(logits)
  mixed = beta * targets + (1 - beta) * jnp.exp(log_p)
  return -jnp.sum(mixed * log_p, axis=-1)
