"""The memory that a training run needs, before any of it is asked for."""

import math
from collections.abc import Callable
from typing import Any

import jax

from rethink import compiled, errors, forward
from rethink.kernels import memory

_FLOAT32 = 4  # bytes


def steps(num_epochs: int, steps_per_epoch: int) -> int:
  """Returns the number of steps of a run.

  Raises:
    ConfigError: if an int32 cannot count them, with the most epochs.
  """
  most = (2**31 - 1) // steps_per_epoch
  if num_epochs > most:
    raise errors.ConfigError(
      f"config.num_epochs={num_epochs:,} of {steps_per_epoch:,} steps each are"
      f" more than 2^31 - 1 steps, which is all that a run counts: at most"
      f" {most:,} epochs"
    )
  return num_epochs * steps_per_epoch


def check(
  create: Callable[..., Any],
  static: compiled.Static,
  arguments: tuple[Any, ...],
  examples: int,
  shape: tuple[int, int, int],
  eval_batch_size: int,
  available: int | None = None,
) -> None:
  """Refuses a model or a batch that cannot fit into memory.

  Counted is what is needed for certain: parameters, what the optimizer keeps of
  them, their gradients, and of a batch its images and the largest result of a
  convolution or matrix product.

  Args:
    create: the compiled initializer, which is only traced.
    static: what the run is compiled for.
    arguments: of `create`.
    examples: in the training split.
    shape: (height, width, channels) of an image as the model sees it.
    eval_batch_size: examples at a time in evaluation.
    available: bytes; by default what the device, or the machine, has left.

  Raises:
    ConfigError: with what is needed and what there is.
  """
  state = create.eval_shape(*arguments)  # pyright: ignore[reportFunctionMemberAccess]
  kept, parameters = _bytes(state), _bytes(state.params)
  available = memory.available_bytes() if available is None else available
  figures = f"{available / 1e9:,.2f} GB are available"
  if kept + parameters > available:
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params))
    raise errors.ConfigError(
      f"config.model has {count:,} parameters, which need"
      f" {(kept + parameters) / 1e9:,.2f} GB with their gradients and what the"
      f" optimizer keeps of them, but only {figures}; make the model narrower"
    )
  image = _FLOAT32 * math.prod(shape)
  each = image + forward.largest_product(static.model, shape)
  each *= static.dtype.itemsize / _FLOAT32
  devices = static.sharding.num_devices
  for field, rows, others in (
    ("batch_size", min(static.batch_size, examples), kept + parameters),
    ("eval_batch_size", eval_batch_size, kept),
  ):
    # The devices of a CPU share its memory, and a batch that they cannot share
    # is computed by each of them.
    shared = jax.default_backend() != "cpu" and rows % devices == 0
    need = others + rows * each / (devices if shared else 1)
    if need > available:
      most = int((available - others) / need * rows)
      raise errors.ConfigError(
        f"config.{field}={rows:,} needs at least {need / 1e9:,.2f} GB with this"
        f" model, but only {figures}; try {max(1, most):,}, or fewer"
      )


def _bytes(tree: Any) -> int:
  return sum(
    math.prod(leaf.shape) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )
