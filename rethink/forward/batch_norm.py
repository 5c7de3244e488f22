"""Statistics of batch norm, as they are in one batch."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from rethink import forward
from rethink.forward import nnx_modules


def batch_statistics(
  model: nn.Module,
  variables: Mapping[str, Any],
  images: jax.Array,
  key: jax.Array,
) -> dict[str, jax.Array]:
  """Returns the statistics of one batch in training mode, without momentum.

  Args:
    model: from `models.build`.
    variables: by collection.
    images: float[batch, height, width, channels].
    key: as for `forward.apply`.

  Returns:
    "<path in batch_stats>" to array, for every `linen.BatchNorm` or
    `nnx.BatchNorm` of the model; other statistics are left out.
  """
  layers: set[str] = set()
  kwargs: dict[str, Any] = {}
  if isinstance(model, nnx_modules.FromNNX):
    kwargs["batch_norms"] = layers

  def without_momentum(next_call, args, call_kwargs, context):
    layer = context.module
    if context.method_name != "__call__" or not isinstance(layer, nn.BatchNorm):
      return next_call(*args, **call_kwargs)
    layers.add("/".join(layer.path))
    momentum = layer.momentum
    # The layer may be a field of the model: then it outlives this call.
    object.__setattr__(layer, "momentum", 0.0)
    try:
      return next_call(*args, **call_kwargs)
    finally:
      object.__setattr__(layer, "momentum", momentum)

  def apply(rngs):
    with nn.intercept_methods(without_momentum):
      return model.apply(
        variables,
        images,
        train=True,
        rngs=rngs,
        mutable=["batch_stats"],
        **kwargs,
      )

  _, updated = forward.with_streams(model, apply, key)
  leaves = jax.tree_util.tree_leaves_with_path(updated["batch_stats"])
  found = {path_text(path): leaf for path, leaf in leaves}
  return {
    path: leaf
    for path, leaf in found.items()
    if path.rpartition("/")[0] in layers
  }


def path_text(path: tuple[Any, ...]) -> str:
  """Returns the text "<name>/<name>" of a leaf's path."""
  return jax.tree_util.keystr(path, simple=True, separator="/")
