"""Splits for `evaluate.evaluate`: on the devices, or streamed."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from rethink import distributed, evaluate
from rethink.pipeline import resident


class ResidentSplit:
  """A split whose images lie on the devices: a chunk is one program."""

  def __init__(
    self,
    static: evaluate.Static,
    data: resident.Resident,
    batch_size: int,
    sharding: resident.Sharding,
  ):
    """Prepares the evaluation of a split.

    Args:
      static: what the evaluation is compiled for.
      data: the split, replicated.
      batch_size: examples at a time; the last batch is padded and masked.
      sharding: of the rows of a batch.
    """
    self._static, self._data, self._batch_size = static, data, batch_size
    self._steps = evaluate.compile_eval_steps(static, batch_size, sharding)
    self.num_batches = -(-len(data.label) // batch_size)

  def begin(self):
    padded = self.num_batches * self._batch_size
    return evaluate.empty(self._static, self._data.label.sharding, padded)

  def advance(self, params, batch_stats, found, start, stop):
    return self._steps(params, batch_stats, self._data, found, start, stop)

  def end(self, found):
    # Rows of other processes' devices: sums are on all devices.
    each = distributed.all_gather_arrays(found.each)
    found = jax.device_get(found._replace(each={}))
    n = len(self._data.label)
    return found._replace(each={k: x[:n] for k, x in each.items()})


class StreamedSplit:
  """A split whose batches come one by one; for a single pass."""

  def __init__(
    self,
    static: evaluate.Static,
    batches: Iterable[tuple[resident.Resident, jax.Array]],
    n: int,
    batch_size: int,
    replicated: resident.Sharding,
  ):
    """Binds batches to their program.

    Args:
      static: what the evaluation is compiled for.
      batches: the split in order, padded to whole batches, with masks.
      n: examples of the split.
      batch_size: rows of a batch, over all processes.
      replicated: sharding with a copy on each device.
    """
    self._static, self._batches, self._n = static, iter(batches), n
    self._step = evaluate.compile_eval_step(static)
    self._replicated = replicated
    self.num_batches = -(-n // batch_size)

  def begin(self):
    return evaluate.empty(self._static, self._replicated).sums, []

  def advance(self, params, batch_stats, found, start, stop):
    sums, parts = found
    for i in range(start, stop):
      batch, mask = next(self._batches)
      sums, each = self._step(params, batch_stats, batch, mask, sums)
      parts.append(each)
      if (i + 1) % evaluate.IN_FLIGHT == 0:
        jax.block_until_ready(sums)
    return sums, parts

  def end(self, found):
    sums, parts = found
    each = distributed.all_gather_arrays(
      jax.tree.map(lambda *rows: jnp.concatenate(rows), *(parts or [{}]))
    )
    each = {name: rows[: self._n] for name, rows in each.items()}
    return evaluate.Evaluation(jax.device_get(sums), each)
