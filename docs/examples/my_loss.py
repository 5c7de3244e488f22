"""A loss of your own: focal loss (Lin et al. 2017), in one file.

From the root of the repository, with the digits prepared
(`python -m rethink.prepare digits`):

  PYTHONPATH=docs/examples python -m rethink.main --config=configs/base.py \
    --config.loss="my_loss:focal(gamma=2.0)" --workdir=runs/my_loss
"""

import jax
import jax.numpy as jnp


def focal(
  logits: jax.Array, targets: jax.Array, gamma: float = 2.0
) -> jax.Array:
  """Cross-entropy in which classes that are predicted well count less.

  Args:
    logits: float32[batch, classes].
    targets: float32[batch, classes], one-hot or mixed by a regularizer.
    gamma: 0 is cross-entropy. Being a float, it is an input of the compiled
      step: another value compiles nothing again.

  Returns:
    float32[batch], one number per example.
  """
  log_p = jax.nn.log_softmax(logits)
  weight = (1 - jnp.exp(log_p)) ** gamma
  return -jnp.sum(targets * weight * log_p, axis=-1)
