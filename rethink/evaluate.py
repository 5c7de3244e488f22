"""A whole split in evaluation mode: no augmentation, nothing dropped."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rethink import distributed, forward, metrics
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
  """float32[batch, classes] in evaluation mode, computed in `dtype`."""
  variables = {"params": cast(params, dtype), "batch_stats": batch_stats}
  images = images.astype(dtype)
  out, *_ = forward.apply(model, variables, images, train=False)
  return jnp.asarray(out, jnp.float32)


@functools.cache
def compile_eval_steps(
  model: nn.Module,
  image_size: int,
  dtype: jnp.dtype,
  batch_size: int,
  sharding: jax.sharding.NamedSharding,
  normalize: str = "per_image",
) -> Callable:
  """The compiled pass over batches [start, stop) of a split.

  It adds to the `total` that it is given, `metrics.Sums`, or fills it in,
  `metrics.Each`.
  """

  def batches(params, batch_stats, data, total, start, stop):
    def add(i, total):
      index = i * batch_size + jnp.arange(batch_size)
      mask = index < len(data.label)
      batch = resident.gather(data, jnp.where(mask, index, 0), sharding)
      images = preprocess.evaluation(batch.image, image_size, normalize)
      out = logits(model, params, batch_stats, images, dtype)
      if isinstance(total, metrics.Sums):
        return total + metrics.sums(out, batch.label, batch.true_label, mask)
      return jax.tree.map(
        lambda whole, part: jax.lax.dynamic_update_slice(
          whole, part, (i * batch_size,)
        ),
        total,
        metrics.each(out, batch.label),
      )

    return jax.lax.fori_loop(start, stop, add, total)

  return jax.jit(batches)


def evaluate(
  run: Callable,
  params,
  batch_stats,
  data: resident.Resident,
  batch_size: int,
  *,
  each: bool = False,
  chunk_seconds: float,
  between: Callable[[], None],
) -> Any:
  """Sums over a split; `between` is called every `chunk_seconds` or so.

  Args:
    run: from `compile_eval_steps`, made for the same batch size.
    params: of the model.
    batch_stats: of the model, {} if it has none.
    data: the split.
    batch_size: examples at a time; the last batch is padded and masked.
    each: keep every example's numbers instead of their sums.
    chunk_seconds: how long the device may work before the host has a say.
    between: may raise to stop.

  Returns:
    `metrics.Sums`, or `metrics.Each` without its padding; NumPy arrays.
  """
  n = len(data.label)
  batches = -(-n // batch_size)
  padded = batches * batch_size
  total = metrics.zeros()
  if each:
    total = metrics.Each(jnp.zeros(padded), jnp.zeros(padded, bool))
  # Placed like what comes back: otherwise it would compile twice.
  total = jax.device_put(total, data.label.sharding)
  start, size = 0, 1
  while start < batches:
    began = distributed.now()
    stop = min(start + size, batches)
    total = run(params, batch_stats, data, total, start, stop)
    jax.block_until_ready(total)
    size = grow(size, distributed.now() - began, chunk_seconds)
    start = stop
    between()
  total = jax.device_get(total)
  return jax.tree.map(lambda x: x[:n], total) if each else total


@functools.cache
def compile_eval_step(
  model: nn.Module, image_size: int, dtype: jnp.dtype, normalize: str
) -> Callable:
  """(params, batch_stats, batch, mask, total, each) -> (total, `Each` or None).

  The compiled pass over one batch adds to the `metrics.Sums` that it is given.
  """

  def add(params, batch_stats, batch, mask, total, each):
    images = preprocess.evaluation(batch.image, image_size, normalize)
    out = logits(model, params, batch_stats, images, dtype)
    total += metrics.sums(out, batch.label, batch.true_label, mask)
    return total, metrics.each(out, batch.label) if each else None

  return jax.jit(add, static_argnums=5)


def evaluate_batches(
  run: Callable,
  params,
  batch_stats,
  batches: Iterable[tuple[resident.Resident, jax.Array]],
  n: int,
  *,
  each: bool = False,
  chunk_seconds: float,
  between: Callable[[], None],
) -> Any:
  """`evaluate` of a split that is not on the devices.

  Args:
    run: from `compile_eval_step`.
    params: of the model.
    batch_stats: of the model, {} if it has none.
    batches: the split in order, padded to whole batches, with masks.
    n: examples of the split.
    each: as for `evaluate`, as are the next two, and the result.
    chunk_seconds: see there.
    between: see there.
  """
  # Placed like what comes back: otherwise it would compile twice.
  total = jax.device_put(
    metrics.zeros(), jax.tree.leaves((params, batch_stats))[0].sharding
  )
  parts = []
  began, waiting, size = distributed.now(), 0, 1
  for batch, mask in batches:
    total, part = run(params, batch_stats, batch, mask, total, each)
    if each:
      parts.append(part)
    waiting += 1
    if waiting % IN_FLIGHT == 0:
      jax.block_until_ready(total)
    if waiting == size:
      jax.block_until_ready(total)
      now = distributed.now()
      size = grow(size, now - began, chunk_seconds)
      began, waiting = now, 0
      between()
  if not each:
    return jax.device_get(total)
  found = distributed.all_gather_arrays(
    jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
  )
  return jax.tree.map(lambda x: x[:n], found)


def grow(size: int, seconds: float, target_seconds: float) -> int:
  """The next chunk's length, from the time that one of `size` took."""
  wanted = size * target_seconds / max(seconds, 1e-6)
  return max(1, min(int(wanted), 4 * size))
