"""How a run goes over its data: training steps, and clean passes.

`Resident` has all images on the devices, `Streamed` reads them from disk; to
the loop they are the same.
"""

import math
from collections.abc import Callable, Generator
from typing import Any, Protocol

import jax.numpy as jnp

from rethink import (
  datasets,
  evaluate,
  example,
  recipes,
  runs,
  settings,
  train,
)
from rethink.pipeline import resident, splits, stream, streamed


class Passes(Protocol):
  """The passes over the data of a run.

  Attributes:
    known: the data; on the stream path without their images.
    steps_per_epoch: training steps of one epoch.
  """

  known: splits.Splits
  steps_per_epoch: int

  def advance(
    self,
    recipe: recipes.Recipe,
    inputs: recipes.Numbers,
    state: train.State,
    start: int,
    stop: int,
  ) -> train.State:
    """Trains from step `start` to step `stop` of one epoch; consumes `state`.

    Steps count from the beginning of the run.
    """
    ...

  def clean(
    self,
    recipe: recipes.Recipe,
    state: train.State,
    split: str,
    between: Callable[[], None],
    *,
    each: bool = False,
  ) -> Any:
    """`evaluate.evaluate` of a split.

    Args:
      recipe: what the run is compiled for.
      state: what is evaluated.
      split: "train", "test", or "evaluated", the part of the training split
        that is evaluated at every epoch.
      between: called now and then; may raise to stop.
      each: keep every example's numbers instead of their sums.
    """
    ...

  def close(self) -> None:
    """Stops what works ahead."""
    ...


def open_data(
  run_settings: settings.Settings,
  run: runs.Run,
  data_dir: str,
  everywhere: resident.Sharding,
  spread: resident.Sharding,
) -> Passes:
  """Loads the data as `config.pipeline` says and binds the run to them.

  Args:
    run_settings: the checked config.
    run: the open run directory.
    data_dir: where prepared data sets lie.
    everywhere: sharding with a copy on each device.
    spread: sharding of the rows of a batch.

  Raises:
    DataError: if data are missing or damaged.
    ConfigError: if they do not fit the config, or not the run so far.
  """
  if run_settings.config.pipeline == "stream":
    data = streamed.load(run_settings, data_dir)
    splits.bind(run, data.known)
    return Streamed(run_settings, data, spread)
  loaded = splits.take(run_settings, run, data_dir)
  return Resident(run_settings, loaded, everywhere, spread)


def _steps(config: Any, n: int) -> int:
  steps = n / config.batch_size
  return int(steps) if config.drop_last else math.ceil(steps)


class Resident:
  """Passes over images that lie on the devices."""

  def __init__(
    self,
    run_settings: settings.Settings,
    loaded: splits.Splits,
    everywhere: resident.Sharding,
    spread: resident.Sharding,
  ):
    """Copies the splits of a run to the devices; shardings as `open_data`."""
    config = self._config = run_settings.config
    self.known, self._spread = loaded, spread
    self.steps_per_epoch = _steps(config, len(loaded.train.id))
    self._order_key = recipes.keys(config.seed).order
    self._order = (-1, jnp.zeros(0, jnp.int32))  # an epoch and its order
    train_data = resident.put(loaded.train, everywhere)
    evaluated = train_data
    if config.eval_train_examples:
      part = _part(loaded, config)
      evaluated = resident.put(part, everywhere)
    self._splits = {
      "train": train_data,
      "evaluated": evaluated,
      "test": resident.put(loaded.test, everywhere),
    }

  def advance(self, recipe, inputs, state, start, stop):
    data = self._splits["train"]
    epoch, position = divmod(start, self.steps_per_epoch)
    if self._order[0] != epoch:
      n = len(data.label)
      order = resident.epoch_order(self._order_key, jnp.int32(epoch), n)
      self._order = (epoch, order)
    advance = train.program(recipe, data.image.shape[-1])
    order, end = self._order[1], position + stop - start
    return advance(state, data, order, inputs, position, end)

  def clean(self, recipe, state, split, between, *, each=False):
    config = self._config
    run = evaluate.program(
      recipe.model,
      recipe.image_size,
      recipe.dtype,
      config.eval_batch_size,
      self._spread,
      recipe.normalize,
    )
    params, batch_stats = state.evaluated
    return evaluate.evaluate(
      run,
      params,
      batch_stats,
      self._splits[split],
      config.eval_batch_size,
      each=each,
      chunk_seconds=config.bookkeeping.chunk_seconds,
      between=between,
    )

  def close(self):
    pass


class Streamed:
  """Passes over images that are read when they are needed."""

  def __init__(
    self,
    run_settings: settings.Settings,
    data: streamed.Streamed,
    spread: resident.Sharding,
  ):
    """For opened data; `spread` is the sharding of the rows of a batch."""
    self._settings, self._config = run_settings, run_settings.config
    self._data, self._spread = data, spread
    self.known = data.known
    n = len(data.known.train.id)
    self.steps_per_epoch = _steps(self._config, n)
    self._step = -1  # that the next batch is of
    self._batches: Generator | None = None

  def advance(self, recipe, inputs, state, start, stop):
    if self._batches is None or self._step != start:
      self.close()
      host = streamed.training(self._data, self._settings, start)
      self._batches = stream.to_devices(host, self._spread)
    step = train.batch_program(recipe)
    for _ in range(start, stop):
      batch, _ = next(self._batches)
      state = step(state, batch, inputs)
    self._step = stop
    return state

  def clean(self, recipe, state, split, between, *, each=False):
    source: streamed.Source = getattr(self._data, split)
    run = evaluate.batch_program(
      recipe.model, recipe.image_size, recipe.dtype, recipe.normalize
    )
    params, batch_stats = state.evaluated
    host = streamed.clean(source, self._settings)
    return evaluate.evaluate_batches(
      run,
      params,
      batch_stats,
      stream.to_devices(host, self._spread),
      len(source.split.entries.id),
      each=each,
      chunk_seconds=self._config.bookkeeping.chunk_seconds,
      between=between,
    )

  def close(self):
    if self._batches is not None:
      self._batches.close()
      self._batches = None


def _part(loaded: splits.Splits, config: Any) -> example.Example:
  """The part of the training split that clean passes go over."""
  return datasets.subset(
    loaded.train,
    config.eval_train_examples,
    config.data_seed,
    loaded.info.num_classes,
    balanced=config.balanced_subset,
  )
