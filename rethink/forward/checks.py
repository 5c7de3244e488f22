"""Checks of a model that need its initial parameters."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from rethink import errors, forward
from rethink.forward import nnx_modules

# Softmax and sigmoid functions are made of these.
_BOUNDING = {"exp", "exp2", "logistic", "tanh"}
_IMAGES = 16
_DRAWS = 5


def check_initialized(
  model: nn.Module,
  params: Any,
  batch_stats: Any,
  image_shape: tuple[int, ...],
) -> None:
  """Refuses a model whose outputs or random streams cannot be used.

  Args:
    model: from `models.build`.
    params: as initialized.
    batch_stats: as initialized.
    image_shape: (height, width, channels).

  Raises:
    ConfigError: if the model returns probabilities, or is an NNX module that
      draws from random streams of its own.
  """
  fixed = []
  if isinstance(model, nnx_modules.FromNNX):
    fixed = model.fixed_streams(image_shape)
  if fixed:
    raise errors.ConfigError(
      f"config.model: the random stream of {', '.join(fixed)} is not made from"
      " the rngs that the constructor is given, so that every step would draw"
      " the same numbers; pass rngs on to all layers"
    )
  if _BOUNDING.isdisjoint(forward.primitives(model, image_shape)):
    return
  batch_stats = jax.device_get(batch_stats)

  def evaluate(params, images):
    variables = {"params": params, "batch_stats": batch_stats}
    return forward.apply(model, variables, images, train=False)[0]

  _refuse_probabilities(evaluate, params, image_shape)


def _refuse_probabilities(
  evaluate: Callable[[Any, jax.Array], jax.Array],
  params: Any,
  image_shape: tuple[int, ...],
) -> None:
  """Refuses a model whose outputs lie in [0, 1], whatever its parameters are.

  At initialization small logits may lie in [0, 1] by chance, or be all zero by
  design; so the parameters are tried as they are and with strong noise added.
  Logits leave the interval then, and softmax or sigmoid outputs cannot. Even if
  such outputs were meant as logits, K classes could not be fitted with them:
  the cross-entropy is never below log(1 + (K - 1) / e), 1.46 nats for ten.

  Args:
    evaluate: (params, images) to outputs, float32[batch, classes].
    params: of the model, as initialized.
    image_shape: (height, width, channels).

  Raises:
    ConfigError: naming what the outputs are.
  """
  rng = np.random.default_rng(0)
  shape = (_IMAGES, *image_shape)

  def disturbed(x: np.ndarray, scale: float) -> np.ndarray:
    fan_in = x.size // x.shape[-1] if x.ndim > 1 and x.size else 1
    noise = rng.standard_normal(x.shape, np.float32)
    return x + np.float32(scale / np.sqrt(fan_in)) * noise

  params = jax.device_get(params)
  # Runs a few times only: on CPUs compiling is what takes time.
  on_cpu = jax.default_backend() == "cpu"
  options = {"xla_backend_optimization_level": 0} if on_cpu else None
  compiled = jax.jit(evaluate, compiler_options=options)
  sums = []
  for draw in range(_DRAWS):
    tried = jax.tree.map(lambda x, d=draw: disturbed(x, 3.0 * (d > 0)), params)
    rows = np.asarray(compiled(tried, rng.standard_normal(shape, np.float32)))
    if not ((rows >= 0) & (rows <= 1)).all():  # also if not finite
      return
    sums.append(rows.sum(axis=-1))
  softmax = np.allclose(sums, 1, atol=1e-3)
  found = (
    "probabilities that sum to 1 (a softmax)"
    if softmax
    else "values in [0, 1], whatever its parameters (a sigmoid, it seems)"
  )
  raise errors.ConfigError(
    f"config.model returns {found}, where logits are expected: return what its"
    " last linear layer computes; the loss applies the softmax itself"
  )
