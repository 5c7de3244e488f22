"""A whole split in evaluation mode: no augmentation, nothing dropped."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from rethink import distributed, forward, metric_names, metric_sums
from rethink.pipeline import preprocess, resident

# Batches that may wait for the device, in its memory.
IN_FLIGHT = 4


def cast(tree: Any, dtype: jnp.dtype) -> Any:
  """Casts the floating leaves: parameters to the compute dtype."""
  return jax.tree.map(
    lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x,
    tree,
  )


def logits(
  model: nn.Module, params, batch_stats, images: jax.Array, dtype: jnp.dtype
) -> jax.Array:
  """Returns float32[batch, classes], computed in evaluation mode in `dtype`."""
  variables = {"params": cast(params, dtype), "batch_stats": batch_stats}
  images = images.astype(dtype)
  out, *_ = forward.apply(model, variables, images, train=False)
  return jnp.asarray(out, jnp.float32)


class Static(NamedTuple):
  """The arguments that an evaluation is compiled for; hashable.

  Attributes:
    model: the network.
    num_classes: width of its output.
    image_size: pixels that the model sees.
    dtype: of activations and products.
    normalize: of `preprocess.NORMALIZE`.
    metrics: those of the config, beside the built-in ones.
    each: (name, function) of what is kept of every example; a function maps
      logits and labels to an array with a row for each example.
  """

  model: nn.Module
  num_classes: int
  image_size: int
  dtype: jnp.dtype
  normalize: str = "per_image"
  metrics: tuple[metric_names.Metric, ...] = ()
  each: tuple[tuple[str, Callable], ...] = ()


class Evaluation(NamedTuple):
  """The result of evaluating a batch or a split.

  Attributes:
    sums: over the examples.
    each: name to an array with a row for each example, against `label`.
  """

  sums: metric_sums.Sums
  each: dict[str, Any]


def eval_step(
  static: Static,
  params: Any,
  batch_stats: Any,
  batch: resident.Resident,
  mask: jax.Array,
) -> Evaluation:
  """Evaluates one batch; rows whose mask is False are in no sum."""
  images = preprocess.evaluation(
    batch.image, static.image_size, static.normalize
  )
  out = logits(static.model, params, batch_stats, images, static.dtype)
  return _measure(static, out, batch.label, batch.true_label, mask)


def _measure(static, out, label, true_label, mask) -> Evaluation:
  sums = metric_sums.sums(out, label, true_label, mask, static.metrics)
  return Evaluation(sums, {name: f(out, label) for name, f in static.each})


def empty(
  static: Static, sharding: jax.sharding.Sharding, n: int = 0
) -> Evaluation:
  """Returns the evaluation of nothing, with room for n examples in `each`."""
  each = {
    name: jnp.zeros((n, *x.shape[1:]), x.dtype)
    for name, x in shapes(static).each.items()
  }
  return Evaluation(_no_sums(static, sharding), jax.device_put(each, sharding))


@functools.cache
def _no_sums(
  static: Static, sharding: jax.sharding.Sharding
) -> metric_sums.Sums:
  # Placed like what comes back: otherwise programs would compile twice. Kept,
  # because making them takes as long as evaluating a small split.
  zeros = jax.tree.map(lambda x: jnp.zeros((), x.dtype), shapes(static).sums)
  return jax.device_put(zeros, sharding)


@functools.cache
def shapes(static: Static) -> Evaluation:
  """Returns shapes and dtypes of an evaluation of one example."""
  label = jax.ShapeDtypeStruct((1,), jnp.int32)
  out = jax.ShapeDtypeStruct((1, static.num_classes), jnp.float32)
  mask = jax.ShapeDtypeStruct((1,), bool)
  measure = functools.partial(_measure, static)
  return jax.eval_shape(measure, out, label, label, mask)


class Split(Protocol):
  """A split in order, padded to whole batches; of `methods.eval_splits`.

  Attributes:
    num_batches: of a pass.
  """

  num_batches: int

  def begin(self) -> Any:
    """Returns what `advance` adds to."""
    ...

  def advance(
    self, params: Any, batch_stats: Any, found: Any, start: int, stop: int
  ) -> Any:
    """Adds the batches [start, stop) to what was found of those before."""
    ...

  def end(self, found: Any) -> Evaluation:
    """Returns what was found as NumPy arrays, without padding."""
    ...


def evaluate(
  split: Split,
  params: Any,
  batch_stats: Any,
  *,
  chunk_seconds: float,
  between: Callable[[], None],
) -> Evaluation:
  """Evaluates a split, and gives the host a say every few seconds.

  Args:
    split: on the devices, or streamed.
    params: of the model, replicated.
    batch_stats: of the model, {} if it has none.
    chunk_seconds: how long the device may work before the host has a say.
    between: called every `chunk_seconds` or so; may raise to stop.

  Returns:
    NumPy arrays, without padding.
  """
  found = split.begin()
  start, size = 0, 1
  while start < split.num_batches:
    began = distributed.now()
    stop = min(start + size, split.num_batches)
    found = split.advance(params, batch_stats, found, start, stop)
    jax.block_until_ready(found)
    size = grow(size, distributed.now() - began, chunk_seconds)
    start = stop
    between()
  return split.end(found)


@functools.cache
def compile_eval_steps(
  static: Static, batch_size: int, sharding: resident.Sharding
) -> Callable[..., Evaluation]:
  """The compiled eval steps of the batches [start, stop) of a resident split.

  Returns `steps(params, batch_stats, data, found, start, stop)`, which adds the
  batches' sums to those of `found`, and writes each example's rows into it.
  """

  def steps(params, batch_stats, data, found, start, stop):
    def add(i, found):
      index = i * batch_size + jnp.arange(batch_size)
      mask = index < len(data.label)
      batch = resident.gather(data, jnp.where(mask, index, 0), sharding)
      new = eval_step(static, params, batch_stats, batch, mask)
      each = {
        name: jax.lax.dynamic_update_slice_in_dim(
          found.each[name], rows, i * batch_size, axis=0
        )
        for name, rows in new.each.items()
      }
      return Evaluation(metric_sums.add(found.sums, new.sums), each)

    return jax.lax.fori_loop(start, stop, add, found)

  return jax.jit(steps)


@functools.cache
def compile_eval_step(static: Static) -> Callable[..., Evaluation]:
  """The compiled eval step of a batch that is on the devices.

  Returns `step(params, batch_stats, batch, mask, sums)`, which adds the batch's
  sums to those that it is given; its `each` is of this batch alone.
  """

  def step(params, batch_stats, batch, mask, sums):
    new = eval_step(static, params, batch_stats, batch, mask)
    return new._replace(sums=metric_sums.add(sums, new.sums))

  return jax.jit(step)


def grow(size: int, seconds: float, target_seconds: float) -> int:
  """The next chunk's length, from the time that one of `size` took."""
  wanted = size * target_seconds / max(seconds, 1e-6)
  return max(1, min(int(wanted), 4 * size))
