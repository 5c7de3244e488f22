"""The training loop: chunks of steps, evaluation, saving, stopping."""

import contextlib
import functools
import math
import time
from collections.abc import Callable
from typing import NoReturn

import jax
import jax.numpy as jnp

from rethink import (
  compiled,
  console,
  distributed,
  errors,
  evaluate,
  metric_names,
  metric_sums,
  metrics,
  models,
  schedules,
  settings,
  train_step,
)
from rethink.methods import (
  batch_stats,
  data_passes,
  finite,
  footprint,
  initial,
  limits,
  method,
  outputs,
  speed,
)
from rethink.pipeline import resident, run_data
from rethink.storage import checkpoints, completeness, metric_writers, runs


class Trainer:
  """One run of `method = "train"`, from the last saved state to its end."""

  def __init__(self, job: method.Job):
    """Loads the data, builds the programs and restores the newest state.

    Raises:
      RethinkError: if data, config or run directory do not fit together.
    """
    run_settings, run, _, stop = job
    self.run, self.stop = run, stop
    replicated, sharded = resident.shardings()
    alone = jax.process_count() == 1  # of several none may leave by itself
    reading = console.waiting(
      f"{run.name}: reading {run_settings.config.dataset}"
    )
    with reading, distributed.together("open the data"):
      self.data = data_passes.open_data(
        *job[:3], replicated, sharded, lambda: alone and bool(stop.name)
      )
    fingerprint = {"fingerprint": run.status["fingerprint"]}  # the length, too
    distributed.require_equal(run.identity | fingerprint, "config and data")
    info, size = self.data.known.info, self.data.known.image_size
    run_settings = settings.with_image_size(run_settings, size)
    config = self.config = run_settings.config
    self.settings, self.book = run_settings, config.bookkeeping
    self.steps_per_epoch = self.data.steps_per_epoch
    self.num_steps = footprint.steps(config.num_epochs, self.steps_per_epoch)
    metric_sums.check(run_settings.metrics, info.num_classes)
    self.static = compiled.static_arguments(
      run_settings, info.num_classes, sharded
    )
    keys = compiled.keys(config.seed)
    length = schedules.Length(
      jnp.int32(self.steps_per_epoch), jnp.int32(self.num_steps)
    )
    self.traced = compiled.traced_arguments(run_settings, length, keys.noise)
    n, channels = len(self.data.known.train.id), info.shape[-1]
    programs = (run_settings, self.static, self.traced)
    self.state = initial.state(*programs, keys.init, replicated, channels, n)
    self.saved = checkpoints.Checkpoints(
      run.workdir, self.book.checkpoints_to_keep, run.identity
    )
    every = self.steps_per_epoch * config.eval_every_epochs
    whole = [row for row in run.rows if self.book.best_metric in row]
    unusable = functools.partial(completeness.obstacle, whole, every)
    changes = train_step.STATE_CHANGES
    restored = self.saved.restore(self.state, changes, unusable)
    if restored is not None:
      self.state = restored
    else:
      initial.check(self.static, self.state, channels)
    self.step = int(self.state.step)
    self.saved.forget_best_after(self.step)
    epoch = self.step // self.steps_per_epoch
    run.cut(self.step, epoch)
    self.chunk = 1
    self.images_per_step = min(config.batch_size, n)
    self.saved_at = distributed.now()
    self.clean_states = batch_stats.CleanStates(
      self.static, self.traced.key, self.data, config, self._between
    )
    self.outputs = outputs.Watch(
      run_data.evaluated(self.data.known, config).label,
      lambda **each: self._clean("evaluated", **each),
      run.status.get("constant_since_epoch"),
    )
    parameters = sum(x.size for x in jax.tree.leaves(self.state.params))
    run.update(parameters=parameters, step=self.step, epoch=epoch)

  def train(self) -> None:
    """Trains to the end.

    Raises:
      DivergedError: if the loss is not finite.
      PreemptedError: if asked to stop; the state is saved.
    """
    name, status, batch = self.run.name, self.run.status, self.config.batch_size
    begun = console.headline(name, status, batch, self.num_steps, self.step)
    print(begun, flush=True)
    limits.warn(name, status)
    with contextlib.ExitStack() as stack:
      self.speed = stack.enter_context(speed.Speed())
      self.progress = stack.enter_context(
        console.Progress(
          self.run.name,
          self.num_steps,
          self.images_per_step,
          self.book.progress,
          self.step,
        )
      )
      self.sinks = metric_writers.open_all(
        stack,
        self.run.workdir,
        self.step + 1,
        self.settings.bookkeeping,
        self.settings.outcome,
      )
      try:
        self.data.prepare(lambda: bool(self.stop.name))
        while not self._at_end():
          self._epoch()
        self._save()
        self.progress.end(self.step)
        self.run.update(
          constant_since_epoch=self.outputs.report(self.run.name),
          **models.norms(self.static.model, self.state.evaluated[0]),
          **self.clean_states.lag(self.run.rows[-1], self.state, self.run.name),
        )
      except _StopRequestedError as request:
        self._save()
        raise errors.PreemptedError(
          f"{request}: saved step {self.step} of {self.num_steps} in"
          f" {self.run.workdir}; run the same command again to go on"
        ) from None
      finally:
        self.data.close()
        self.saved.close()

  def _at_end(self) -> bool:
    """Evaluates if an epoch has just ended; says whether it was the last."""
    epoch, rest = divmod(self.step, self.steps_per_epoch)
    last = self.step >= self.num_steps
    if self.step == 0 or rest:
      return False
    if last or epoch % self.config.eval_every_epochs == 0:
      self._evaluate_epoch(epoch)
      row = self.run.rows[-1]
      last = last or row["train/loss"] <= self.config.stop_at_train_loss > 0
    every = self.book.examples_every_epochs
    if every and (last or epoch % every == 0):
      self._log_examples(epoch)
    if not last and epoch % self.book.checkpoint_every_epochs == 0:
      self._save()
    return last

  def _epoch(self) -> None:
    """Trains to the end of the current epoch."""
    end = self.step + self.steps_per_epoch - self.step % self.steps_per_epoch
    while self.step < end:
      self._between()
      began, start = distributed.now(), self.step
      self.speed.begin()
      stop = min(start + self.chunk, end)
      self.state = self.data.advance(
        self.static, self.traced, self.state, start, stop
      )
      sums, bad_step = jax.device_get((self.state.sums, self.state.bad_step))
      self.step = stop
      if bad_step >= 0:
        self._diverged(int(bad_step))
      now = distributed.now()
      self._time_chunk(stop - start, now - began)
      self.progress.step(
        self.step, sums.loss / sums.count, sums.correct / sums.count
      )
      if now - self.saved_at > self.book.checkpoint_every_seconds:
        self._save()

  def _time_chunk(self, steps: int, seconds: float) -> None:
    self.speed.end(steps * self.images_per_step, seconds)
    if steps == self.chunk:  # not one that the end of an epoch cut short
      self.chunk = evaluate.grow(steps, seconds, self.book.chunk_seconds)

  def _between(self) -> None:
    """Between chunks: has somebody asked to stop, has a save failed?"""
    self.run.check_lock()
    self.saved.check()
    signal = distributed.any_of(self.stop.name)
    if signal:
      raise _StopRequestedError(signal)

  def _evaluate_epoch(self, epoch: int) -> None:
    """Logs the row of an epoch, unless an earlier process has logged it."""
    if not self.run.rows or self.run.rows[-1]["step"] != self.step:
      row = self._row(epoch)
      self.run.log(row)
      self.run.update(step=self.step, epoch=epoch)
      self.progress.row(row)
      for sink in self.sinks:
        sink(row)
    # Also when the row was there: the process may have died between the two.
    if self.outputs.changed(self.run.rows[-1]):
      self.run.update(constant_since_epoch=self.outputs.since)
    key = self.book.best_metric
    sign = metric_names.best_of(self.settings.metrics)[key]
    best = max(self.run.rows, key=lambda row: sign * row[key])
    if best["step"] == self.step and finite.everywhere(self.state):
      self.saved.save_best(self.step, self.state)

  def _row(self, epoch: int) -> runs.Row:
    began = time.monotonic()
    train, test = self._clean("evaluated"), self._clean("test")
    batch = jax.device_get(self.state.sums)
    rate = compiled.learning_rate(
      self.static, self.traced, jnp.int32(self.step - 1)
    )
    trained = self.speed.take()  # None: the run was resumed where it ended
    row: runs.Row = {
      "step": self.step,
      "epoch": epoch,
      **metric_sums.train_means(train.sums),
      **metric_sums.test_means(test.sums),
      "batch/loss": float(batch.loss / batch.count),
      "batch/accuracy": float(batch.correct / batch.count),
      "learning_rate": float(rate),
      "time/seconds": round(self.run.seconds, 3),
      "time/evaluation_seconds": round(time.monotonic() - began, 3),
    }
    if trained is not None:
      row["time/images_per_second"] = round(trained, 1)
    if not all(math.isfinite(value) for value in row.values()):
      if math.isfinite(row["train/loss"]) and math.isfinite(row["test/loss"]):
        metric_names.check_finite(row, self.settings.metrics)
      self._diverged(self.step)
    return row

  def _clean(self, split: str, **each: Callable) -> evaluate.Evaluation:
    state = self.clean_states.state(self.step, self.state)
    return self.data.clean(self.static, state, split, self._between, **each)

  def _log_examples(self, epoch: int) -> None:
    found = self._clean("train", loss=metrics.loss, correct=metrics.accuracy)
    known = self.data.known.train._asdict()
    self.run.log_examples(epoch, {**known, **found.each})

  def _save(self) -> None:
    """Hands the state over for saving, if there is anything new in it."""
    if self.step and self.step != self.saved.saved_step:
      if not finite.everywhere(self.state):
        self._diverged(self.step)
      self.saved.save(self.step, self.state)
      self.saved_at = distributed.now()

  def _diverged(self, step: int) -> NoReturn:
    rate = compiled.learning_rate(self.static, self.traced, jnp.int32(step))
    finite.fail(
      self.run, step, step // self.steps_per_epoch, rate, self.saved.saved_step
    )


class _StopRequestedError(Exception):
  """Leaves nested loops; becomes a PreemptedError once the state is saved."""


def execute(job: method.Job) -> None:
  """Trains a network by gradient descent."""
  Trainer(job).train()


METHOD = method.Method(
  settings.resolve,
  execute,
  many_processes=True,
  pipelines=("resident", "stream"),
  refuse_longer=compiled.refuse_longer,
)
