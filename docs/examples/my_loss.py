"""A loss of one's own, with an optimizer of Optax.

  PYTHONPATH=docs/examples python -m rethink.main --config=configs/base.py \
    --config.loss="my_loss:poly(epsilon=1.0)" \
    --config.optimizer="optax:adamw(weight_decay=0.01)" \
    --config.learning_rate=0.001 --workdir=runs/my_loss
"""

import jax
import jax.numpy as jnp


def poly(
  logits: jax.Array, targets: jax.Array, epsilon: float = 1.0
) -> jax.Array:
  """Cross-entropy + epsilon (1 - probability of the target); Leng et al. 2022.

  Args:
    logits: float32[batch, classes].
    targets: float32[batch, classes], probabilities.
    epsilon: a float, so that runs with other values share their program.

  Returns:
    float32[batch], a loss for each example.
  """
  log_probabilities = jax.nn.log_softmax(logits)
  cross_entropy = -jnp.sum(targets * log_probabilities, axis=-1)
  miss = 1 - jnp.sum(targets * jnp.exp(log_probabilities), axis=-1)
  return cross_entropy + epsilon * miss
