"""Watches whether a network still tells images apart.

A network whose units are all dead, or whose signal has died out, returns the
same logits for every image. Its accuracy is then the share of one label, which
says nothing about what it could fit.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rethink import evaluate

# Outputs that differ by less, relative to the largest logit, are equal to
# within rounding.
_TOLERANCE = 1e-5


class Watch:
  """Knows since when the output on the training examples is constant.

  Accuracies tell cheaply: those of a constant output are the share of a label.
  Only then are the logits themselves looked at, in a further pass, so that the
  programs which compute a run's metrics stay as they are, to the last bit.

  Attributes:
    since: the first epoch of all those up to the last in which the output was
      constant; None if it is not.
  """

  def __init__(
    self,
    labels: np.ndarray,
    clean: Callable[..., evaluate.Evaluation],
    since: int | None,
  ):
    """Prepares nothing on the device.

    Args:
      labels: int32[n] of the examples that clean passes go over.
      clean: a clean pass over these, `clean(name=function)` with what is kept
        of every example.
      since: what an earlier process found: an epoch, or None.
    """
    shares = np.bincount(labels).astype(float) / len(labels)
    self._shares, self._clean = frozenset(shares.tolist()), clean
    self.since = since

  def changed(self, row: dict[str, Any]) -> bool:
    """Judges the network that a row is of; says if `since` is another now.

    Args:
      row: of the clean pass over its parameters as they are.
    """
    before, epoch = self.since, row["epoch"]
    if not (row["train/accuracy"] in self._shares and self._constant()):
      self.since = None
    elif self.since is None or self.since > epoch:
      self.since = epoch
    return self.since != before

  def report(self, name: str) -> int | None:
    """Returns `since`, and says so if the output is constant at the end."""
    if self.since is not None:
      print(
        f"{name}: constant output since epoch {self.since}: the network answers"
        " the same for every training image, so that its accuracy is the share"
        " of one label; a lower config.learning_rate, or another initialization"
        " of the model, may keep it alive",
        flush=True,
      )
    return self.since

  def _constant(self) -> bool:
    kept = self._clean(output=_output).each["output"]
    return bool(np.ptp(kept[:, 0]) <= _TOLERANCE * np.abs(kept[:, 1]).max())


def _output(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns two numbers of each example's logits, float32[batch, 2].

  The first is equal for equal logits, and different for others: a projection
  onto directions that no two logits share. What is added to all logits changes
  no probability, and neither of the numbers. The second is their largest size.
  """
  del labels
  centred = logits - logits.mean(-1, keepdims=True)
  weights = jnp.cos(jnp.arange(logits.shape[-1], dtype=jnp.float32))
  size = jnp.abs(centred).max(-1)
  return jnp.stack([(centred * weights[None]).sum(-1), size], axis=-1)
