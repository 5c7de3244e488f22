"""A metric of one's own, which appears in every row of metrics.jsonl.

  PYTHONPATH=docs/examples python -m rethink.main --config=configs/base.py \
    --config.metrics='("my_metric:entropy()",)' --workdir=runs/my_metric
"""

import jax
import jax.numpy as jnp


def entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Entropy of the predicted probabilities, in nats.

  Args:
    logits: float32[batch, classes].
    labels: int32[batch]; not used here.

  Returns:
    float32[batch], a number for each example; rows hold its means.
  """
  del labels
  log_probabilities = jax.nn.log_softmax(logits)
  return -jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1)
