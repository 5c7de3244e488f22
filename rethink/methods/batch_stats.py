"""Batch norm's statistics for clean passes, re-estimated over training data.

Running averages lag behind the parameters if their momentum is high and steps
are few (Flax's default is 0.99): a fitted network then looks unfitted in
evaluation mode. Re-estimated statistics are those of the parameters as they
are: the mean over batches of each batch's mean and variance, in training mode
and without augmentation, as in the `update_bn` of stochastic weight averaging
(Izmailov et al. 2018). They serve clean passes only; training, and the saved
states, keep the running averages.
"""

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rethink import compiled, errors, evaluate, train_step
from rethink.forward import batch_norm
from rethink.methods import passes
from rethink.pipeline import preprocess, resident

# Training accuracy may be so much below that with re-estimated statistics, as
# a fraction of the examples, before a run says that the statistics lag.
MARGIN = 0.02
# Whole batches that are enough to find that out.
LAG_BATCHES = 64
_STREAM = np.uint32(zlib.crc32(b"reestimate_batch_stats"))


class CleanStates:
  """The states that the clean passes of a run evaluate."""

  def __init__(
    self,
    static: compiled.Static,
    key: jax.Array,
    data: passes.Passes,
    config: Any,
    between: Callable[[], None],
  ):
    """Prepares nothing; arguments as for `reestimate`."""
    self._static, self._key, self._data = static, key, data
    self._config, self._between = config, between
    self._step, self._state = -1, None

  def state(
    self, step: int, state: train_step.TrainState
  ) -> train_step.TrainState:
    """Returns the state to evaluate: itself, or one with other statistics.

    Args:
      step: of the state; one that has been re-estimated is kept until the next.
      state: of training.

    Raises:
      ConfigError: if statistics shall be re-estimated that are not Flax's.
    """
    examples = self._config.reestimate_batch_stats
    if not examples or not state.batch_stats:
      return state
    if self._state is None or self._step != step:
      self._step, self._state = step, self._reestimate(state, examples)
    if self._state is state:
      raise errors.ConfigError(
        "config.reestimate_batch_stats knows flax.linen.BatchNorm and"
        " flax.nnx.BatchNorm; config.model keeps other statistics only: set it"
        " to 0"
      )
    return self._state

  def lag(
    self, row: Mapping[str, Any], state: train_step.TrainState, name: str
  ) -> dict[str, dict[str, float]]:
    """Says if running statistics spoil the last clean pass, and by how much.

    `batch/accuracy` costs nothing, but is of earlier parameters, of augmented
    images and dropout. Only where it is well above `train/accuracy`, the pass
    is done once more at the same parameters with re-estimated statistics.

    Args:
      row: of the last clean pass.
      state: that it evaluated.
      name: of the run, for people.

    Returns:
      What status.json keeps: `batch_norm_lag`, the train accuracies with
      running and with re-estimated statistics; {} if they agree.
    """
    running = row["train/accuracy"]
    if (
      self._config.reestimate_batch_stats
      or not state.batch_stats
      or row["batch/accuracy"] - running <= MARGIN
    ):
      return {}
    other = self._reestimate(state, LAG_BATCHES * self._config.batch_size)
    sums = self._data.clean(
      self._static, other, "evaluated", self._between
    ).sums
    found = float(sums.label["accuracy"] / sums.count)
    if found - running <= MARGIN:
      return {}
    print(
      f"{name}: batch norm's running statistics lag behind the parameters:"
      f" train accuracy {running:.2%}, with re-estimated statistics"
      f" {found:.2%}; set config.reestimate_batch_stats (to"
      f" {LAG_BATCHES * self._config.batch_size}, say), or give the model's"
      " batch norm a lower momentum (0.9; Flax's default is 0.99)",
      flush=True,
    )
    return {"batch_norm_lag": {"running": running, "reestimated": found}}

  def _reestimate(self, state, examples: int) -> train_step.TrainState:
    batches = self._data.first_batches(examples)
    return reestimate(self._static, self._key, state, batches, self._between)


def whole_batches(examples: int, n: int, batch_size: int) -> tuple[int, int]:
  """Returns the number and the size of the batches that hold these examples.

  Args:
    examples: upper limit on the number of examples; at least `batch_size`.
    n: number of training examples; all of them are one batch if they are fewer
      than `batch_size`.
    batch_size: batch size in training.
  """
  size = min(batch_size, n)
  return min(examples, n) // size, size


def first_batches(
  data: resident.Resident,
  batches: int,
  size: int,
  sharding: resident.Sharding,
) -> Iterator[resident.Resident]:
  """Yields the first batches of a split that is on the devices."""
  gather = _compile_gather(size, sharding)
  for i in range(batches):
    yield gather(data, jnp.int32(i * size))


@functools.cache
def _compile_gather(size: int, sharding: resident.Sharding) -> Callable:
  return jax.jit(
    lambda data, start: resident.gather(
      data, start + jnp.arange(size, dtype=jnp.int32), sharding
    )
  )


@functools.cache
def _compile_statistics(static: compiled.Static) -> Callable:
  """(params, batch_stats, batch, key) -> statistics of the batch, by path."""

  def statistics(params, batch_stats, batch, key):
    images = preprocess.evaluation(
      batch.image, static.image_size, static.normalize
    ).astype(static.dtype)
    variables = {
      "params": evaluate.cast(params, static.dtype),
      "batch_stats": batch_stats,
    }
    return batch_norm.batch_statistics(static.model, variables, images, key)

  return jax.jit(statistics)


@jax.jit
def _add(one: Any, other: Any) -> Any:
  return jax.tree.map(jnp.add, one, other)


def reestimate(
  static: compiled.Static,
  key: jax.Array,
  state: train_step.TrainState,
  batches: Iterable[resident.Resident],
  between: Callable[[], None],
) -> train_step.TrainState:
  """Returns a state for clean passes: with the statistics of these batches.

  It is the state itself if the model has no batch norm of Flax's.

  Args:
    static: what the run is compiled for.
    key: of the run's augmentation and dropout; every pass draws alike.
    state: not consumed.
    batches: of equal size, at least one.
    between: called now and then; may raise to stop.
  """
  params, running = state.evaluated
  if not running:
    return state
  statistics = _compile_statistics(static)
  key = jax.random.fold_in(key, _STREAM)
  total, count = None, 0
  for batch in batches:
    found = statistics(params, running, batch, jax.random.fold_in(key, count))
    total = found if total is None else _add(total, found)
    count += 1
    if count % evaluate.IN_FLIGHT == 0:
      jax.block_until_ready(total)
      between()
  if not total:
    return state
  means = {path: leaf / count for path, leaf in total.items()}

  def replace(path, leaf):
    name = batch_norm.path_text(path)
    return means[name] if name in means else leaf

  return state.with_evaluated_stats(
    jax.tree_util.tree_map_with_path(replace, running)
  )
