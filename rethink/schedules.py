"""Every public function is a schedule: step -> factor on the learning rate.

`step` counts optimizer steps from 0 and `run` says how long the run is; both,
like float arguments, may be traced.
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from rethink import specs

# What every public function gets first, by position.
LEADING = ("step", "run")


class Length(NamedTuple):
  """The length of a run: int32 scalars, traced arguments of the step."""

  steps_per_epoch: jax.Array
  num_steps: jax.Array


def constant(step: jax.Array, run: Length) -> jax.Array:
  """The learning rate never changes."""
  del step, run
  return jnp.float32(1)


def exponential(
  step: jax.Array,
  run: Length,
  *,
  decay: specs.NotNegative = 0.95,
  every_epochs: Annotated[int, specs.Range(1, 2**31 - 1)] = 1,
) -> jax.Array:
  """Multiplies by `decay` after every `every_epochs` epochs, in steps.

  The defaults are the paper's (appendix A); that it is a staircase follows
  from its wording, "per training epoch".
  """
  times = step // run.steps_per_epoch // every_epochs
  return jnp.power(jnp.float32(decay), times.astype(jnp.float32))


def cosine(
  step: jax.Array, run: Length, *, warmup_epochs: specs.NotNegative = 5.0
) -> jax.Array:
  """Rises linearly for `warmup_epochs`, then falls to 0 along a cosine."""
  warmup = jnp.maximum(warmup_epochs * run.steps_per_epoch, 1)
  rest = jnp.maximum(run.num_steps - warmup, 1)
  progress = jnp.clip((step - warmup) / rest, 0, 1)
  falling = 0.5 * (1 + jnp.cos(jnp.pi * progress))
  return jnp.where(step < warmup, (step + 1) / warmup, falling)
