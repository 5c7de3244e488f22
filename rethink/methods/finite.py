"""A run ends when its loss or its state is no longer finite."""

from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from rethink import errors
from rethink.storage import runs


@jax.jit
def everywhere(tree: Any) -> jax.Array:
  """Returns True if all numbers of all arrays are finite."""
  return jnp.array([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()


def fail(
  run: runs.Run, step: int, epoch: int, rate: Any, saved_step: int | None
) -> NoReturn:
  """Records where a run diverged.

  Args:
    run: the run.
    step: at which the loss was not finite.
    epoch: of that step.
    rate: the learning rate there.
    saved_step: of the last saved state, if there is one.

  Raises:
    DivergedError: always.
  """
  rate = float(rate)
  run.update(diverged_step=step, diverged_learning_rate=rate)
  raise errors.DivergedError(
    f"the loss is not finite at step {step} (epoch {epoch}, learning rate"
    f" {rate:.3g}); the last finite state is step"
    f" {saved_step if saved_step else 'none'}; lower config.learning_rate and"
    " use another --workdir"
  )
