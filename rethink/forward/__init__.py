"""Forward passes of models: initialize, apply in training and evaluation.

The one place that knows how Linen and NNX modules are called.
"""

import functools
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rethink import errors
from rethink.forward import nnx_modules


def init(
  model: nn.Module, key: jax.Array, images: jax.Array
) -> tuple[jax.Array, dict[str, Any]]:
  """Initializes a model, in evaluation mode.

  Args:
    model: from `models.build`.
    key: of the parameters.
    images: float[batch, height, width, channels]; only their shape matters.

  Returns:
    (logits, variables by collection).

  Raises:
    ConfigError: if the model returns anything but an array.
  """
  rngs = {"params": key}
  if isinstance(model, nnx_modules.FromNNX):
    rngs["default"] = _stream_key(key, "default")
  logits, variables = model.init_with_output(rngs, images, train=False)
  return _only_logits(logits), dict(variables)


def apply(
  model: nn.Module,
  variables: Mapping[str, Any],
  images: jax.Array,
  *,
  train: bool,
  key: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, Any], list[jax.Array]]:
  """Applies a model in training or evaluation mode.

  Args:
    model: from `models.build`.
    variables: by collection: "params" and "batch_stats".
    images: float[batch, height, width, channels].
    train: the mode.
    key: in training, of the stream "dropout"; other streams derive from it.

  Returns:
    (logits [batch, classes] in the dtype of the computation; the collections
    that training updates; the logits of auxiliary heads, in training).

  Raises:
    ConfigError: if the model returns anything but an array, or draws random
      numbers in evaluation mode.
  """
  if not train:
    try:
      logits = model.apply(variables, images, train=False)
    except flax.errors.InvalidRngError as error:
      raise errors.ConfigError(
        "config.model draws random numbers in evaluation mode (the stream"
        f" {_asked_for(error)!r}): draw them only if train is True"
      ) from error
    return _only_logits(logits), {}, []

  def forward(rngs):
    return model.apply(
      variables,
      images,
      train=True,
      rngs=rngs,
      mutable=["batch_stats", "auxiliary"],
    )

  logits, updated = with_streams(model, forward, key)
  updated = dict(updated)
  heads = jax.tree.leaves(updated.pop("auxiliary", {}))
  return _only_logits(logits), updated, heads


def with_streams(
  model: nn.Module, forward: Callable[[dict[str, Any]], Any], key: Any
) -> Any:
  """Calls `forward(rngs)` with a key for each random stream of the model.

  Linen says which stream is missing when a model is traced: then it is traced
  again. NNX takes any stream that is missing from the one named "default".
  """
  rngs = {"dropout": key}
  if isinstance(model, nnx_modules.FromNNX):
    rngs["default"] = _stream_key(key, "default")
  while True:
    try:
      return forward(rngs)
    except flax.errors.InvalidRngError as error:
      name = _asked_for(error)
      if not name or name in rngs:
        raise
      rngs[name] = _stream_key(key, name)


def primitives(
  model: nn.Module, image_shape: tuple[int, ...]
) -> frozenset[str]:
  """Returns the names of the JAX operations of a model.

  Args:
    model: from `models.build`.
    image_shape: (height, width, channels).
  """
  return _operations(model, image_shape).names


def refuse_empty(model: nn.Module, image_shape: tuple[int, ...]) -> None:
  """Refuses a model of which some array has no elements.

  Such a network trains, on nothing: what comes after a feature map that pooling
  has shrunk away is the same for every image.

  Args:
    model: from `models.build`.
    image_shape: (height, width, channels).

  Raises:
    ConfigError: naming the layer.
  """
  empty = _operations(model, image_shape).empty
  if empty:
    height, width, _ = image_shape
    raise errors.ConfigError(
      f"config.model: {empty}, which has no elements, for images of"
      f" {height}x{width} pixels; give widths of 1 or more, larger images"
      " (config.image_size), or less pooling"
    )


def largest_product(model: nn.Module, image_shape: tuple[int, ...]) -> int:
  """Returns the bytes of the largest convolution or matrix product of an image.

  Args:
    model: from `models.build`.
    image_shape: (height, width, channels).
  """
  return _operations(model, image_shape).largest_product


class _Operations(NamedTuple):
  """The JAX operations of a model.

  Attributes:
    names: of the primitives.
    empty: the first layer that makes an empty array, with its shape; or "".
    largest_product: bytes of the largest convolution or matrix product of an
      image.
  """

  names: frozenset[str]
  empty: str
  largest_product: int


# Of the images that are traced: hardly any weights have it as first dimension.
_TRACED_IMAGES = 13
_PRODUCTS = ("conv_general_dilated", "dot_general")


@functools.cache
def _operations(model: nn.Module, image_shape: tuple[int, ...]) -> _Operations:
  images = jax.ShapeDtypeStruct((_TRACED_IMAGES, *image_shape), jnp.float32)
  key = jax.random.key(0)
  traced = jax.make_jaxpr(lambda images: init(model, key, images)[0])(images)
  names, empty, largest = set(), "", 0
  for equation in _equations(traced.jaxpr):
    name = equation.primitive.name
    names.add(name)
    for result in equation.outvars:
      shape = getattr(result.aval, "shape", ())
      if 0 in shape and not empty:
        layer = str(equation.source_info.name_stack) or type(model).__name__
        shown = shape[1:] if shape[:1] == (_TRACED_IMAGES,) else shape
        empty = f"layer {layer} makes an array of shape {shown}"
      if name in _PRODUCTS and shape[:1] == (_TRACED_IMAGES,):
        size = math.prod(shape[1:]) * result.aval.dtype.itemsize
        largest = max(largest, size)
  return _Operations(frozenset(names), empty, largest)


def _equations(jaxpr: Any) -> Iterator[Any]:
  for equation in jaxpr.eqns:
    yield equation
    for value in jax.tree.leaves(list(equation.params.values())):
      inner = getattr(value, "jaxpr", value)  # closed or open
      if hasattr(inner, "eqns"):
        yield from _equations(inner)


def _stream_key(key: jax.Array, name: str) -> jax.Array:
  return jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def _asked_for(error: flax.errors.InvalidRngError) -> str:
  found = re.search(r'needs PRNG for "([^"]*)"', str(error))
  return found[1] if found else ""


def _only_logits(outputs: Any) -> jax.Array:
  if isinstance(outputs, jax.Array):
    return outputs
  raise errors.ConfigError(
    f"config.model returns a {type(outputs).__name__}; it must return its"
    " logits alone, an array [batch, classes] (auxiliary heads of a Linen"
    ' module: self.sow("auxiliary", "logits", x))'
  )
