"""The passes of a run over its data: training steps, and clean passes.

`ResidentPasses` have all images on the devices, `StreamedPasses` read them from
disk; to the loop they are the same.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rethink import compiled, evaluate, example, settings, train_step
from rethink.methods import batch_stats, eval_splits, passes
from rethink.pipeline import (
  attainable,
  loader,
  order,
  resident,
  run_data,
  stream_data,
)
from rethink.storage import runs


def open_data(
  run_settings: settings.Settings,
  run: runs.Run,
  data_dir: str,
  replicated: resident.Sharding,
  sharded: resident.Sharding,
  stopped: Callable[[], bool],
) -> passes.Passes:
  """Loads the data as `config.pipeline` says and binds the run to them.

  Args:
    run_settings: the checked config.
    run: the open run directory.
    data_dir: where prepared data sets lie.
    replicated: sharding with a copy on each device.
    sharded: sharding of the rows of a batch.
    stopped: looked at while all images are read, if that is necessary.

  Raises:
    DataError: if data are missing or damaged.
    PreemptedError: if stopped.
    ConfigError: if they do not fit the config, or not the run so far.
  """
  if run_settings.config.pipeline == "stream":
    data = stream_data.open_data(run_settings, data_dir, stopped)
    known = data.known
    facts = attainable.of_labels(known.train.label, known.test.true_label)
    run_data.bind(run, known, {**attainable.UNKNOWN, **facts})
    return StreamedPasses(run_settings, data, replicated, sharded)
  loaded = run_data.load_for_run(
    run_settings,
    run,
    data_dir,
    evaluated=run_settings.config.eval_train_examples,
  )
  return ResidentPasses(run_settings, loaded, replicated, sharded)


def _evaluated(
  static: compiled.Static,
  run_settings: settings.Settings,
  each: Mapping[str, Callable],
) -> evaluate.Static:
  return evaluate.Static(
    static.model,
    static.num_classes,
    static.image_size,
    static.dtype,
    static.normalize,
    run_settings.metrics,
    tuple(each.items()),
  )


def _steps(config: Any, n: int) -> int:
  return order.steps_per_epoch(n, config.batch_size, config.drop_last)


class ResidentPasses:
  """passes.Passes over images that lie on the devices."""

  def __init__(
    self,
    run_settings: settings.Settings,
    loaded: run_data.RunData[example.Example],
    replicated: resident.Sharding,
    sharded: resident.Sharding,
  ):
    """Copies the splits of a run to the devices; shardings as `open_data`."""
    self._settings = run_settings
    config = self._config = run_settings.config
    self.known, self._spread = loaded, sharded
    self.steps_per_epoch = _steps(config, len(loaded.train.id))
    self._order_key = compiled.keys(config.seed).order
    self._order = (-1, jnp.zeros(0, jnp.int32))  # an epoch and its order
    train_data = resident.put(loaded.train, replicated)
    evaluated = train_data
    if config.eval_train_examples:
      part = run_data.evaluated(loaded, config)
      evaluated = resident.put(part, replicated)
    self._splits = {
      "train": train_data,
      "evaluated": evaluated,
      "test": resident.put(loaded.test, replicated),
    }

  def prepare(self, stopped):
    pass

  def advance(self, static, traced, state, start, stop):
    data = self._splits["train"]
    epoch, position = divmod(start, self.steps_per_epoch)
    if self._order[0] != epoch:
      n = len(data.label)
      rows = resident.epoch_order(self._order_key, jnp.int32(epoch), n)
      self._order = (epoch, rows)
    advance = train_step.compile_train_steps(static, data.image.shape[-1])
    rows, end = self._order[1], position + stop - start
    return advance(state, data, rows, traced, position, end)

  def clean(self, static, state, split, between, **each):
    config = self._config
    return evaluate.evaluate(
      eval_splits.ResidentSplit(
        _evaluated(static, self._settings, each),
        self._splits[split],
        config.eval_batch_size,
        self._spread,
      ),
      *state.evaluated,
      chunk_seconds=config.bookkeeping.chunk_seconds,
      between=between,
    )

  def first_batches(self, examples):
    data, size = self._splits["train"], self._config.batch_size
    batches, size = batch_stats.whole_batches(examples, len(data.label), size)
    return batch_stats.first_batches(data, batches, size, self._spread)

  def close(self):
    pass


class StreamedPasses:
  """passes.Passes over images that are read when they are needed."""

  def __init__(
    self,
    run_settings: settings.Settings,
    data: stream_data.StreamData,
    replicated: resident.Sharding,
    sharded: resident.Sharding,
  ):
    """For opened data; shardings as `open_data`.

    Raises:
      ConfigError: if processes and devices cannot share the batches.
    """
    self._settings, self._config = run_settings, run_settings.config
    self._data, self.known = data, data.known
    self._replicated, self._spread = replicated, sharded
    self.steps_per_epoch = _steps(self._config, len(data.known.train.id))
    stream_data.training(data, run_settings)
    for name in ("train", "evaluated", "test"):
      stream_data.clean(data, name, run_settings)
    self._step = -1  # that the next batch is of
    self._batches: Generator | None = None

  def prepare(self, stopped):
    if self._config.bookkeeping.cache_dir:
      data = self._data.cached(self._config, stopped)
      self._data = data or self._data

  def advance(self, static, traced, state, start, stop):
    if self._batches is None or self._step != start:
      self.close()
      batches = stream_data.training(self._data, self._settings)
      self._batches = self._placed(batches, start)
    step = train_step.compile_train_step(static)
    for i in range(start, stop):
      batch, _ = next(self._batches)
      state = step(state, batch, traced)
      if i % evaluate.IN_FLIGHT == 0:
        jax.block_until_ready(state.step)
    self._step = stop
    return state

  def clean(self, static, state, split, between, **each):
    batches = stream_data.clean(self._data, split, self._settings)
    placed = self._placed(batches, 0)
    try:
      return evaluate.evaluate(
        eval_splits.StreamedSplit(
          _evaluated(static, self._settings, each),
          placed,
          len(getattr(self._data, split).entries.id),
          self._config.eval_batch_size,
          self._replicated,
        ),
        *state.evaluated,
        chunk_seconds=self._config.bookkeeping.chunk_seconds,
        between=between,
      )
    finally:
      placed.close()

  def first_batches(self, examples):
    n, size = len(self._data.train.entries.id), self._config.batch_size
    batches, size = batch_stats.whole_batches(examples, n, size)
    plan = stream_data.clean(self._data, "train", self._settings, size)
    placed = self._placed(plan, 0)
    try:
      for _ in range(batches):
        batch, _ = next(placed)
        yield batch
    finally:
      placed.close()

  def close(self):
    if self._batches is not None:
      self._batches.close()
      self._batches = None

  def _placed(self, batches: loader.Batches, start: int) -> Generator:
    workers = self._config.bookkeeping.stream_workers
    ahead = loader.iterate(batches, start, workers=workers)
    return loader.to_devices(ahead, self._spread)
