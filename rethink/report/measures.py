"""Measures: every public function computes one number of a finished run.

A measure returns None if the run has no such number, because it never fitted or
did not log the metric. The columns of a report name measures by function name.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from rethink import experiments
from rethink.report import judgements
from rethink.storage import bounds, runs


class FinishedRun(NamedTuple):
  """The input of a measure.

  Attributes:
    record: a run that is done.
    threshold: nats; a run fits when its clean train loss is at most this.
    baseline: the run with the same seed that relative measures divide by.
  """

  record: runs.Record
  threshold: float
  baseline: runs.Record | None = None


Measure = Callable[[FinishedRun, experiments.Column], float | None]


def end(run: FinishedRun, column: experiments.Column) -> float | None:
  """Returns the metric in the last row."""
  return run.record.rows[-1].get(column.metric)


def end_error(run: FinishedRun, column: experiments.Column) -> float | None:
  """Returns one minus the accuracy in the last row."""
  accuracy = end(run, column)
  return None if accuracy is None else 1 - accuracy


def status(run: FinishedRun, column: experiments.Column) -> float | None:
  """Returns the field of status.json that the metric names.

  "a/b" names the field b of the object a.
  """
  value: Any = run.record.status
  for part in column.metric.split("/"):
    if not isinstance(value, dict) or part not in value:
      return None
    value = value[part]
  return None if value is None else float(value)  # null: the method lacks it


def best(run: FinishedRun, column: experiments.Column) -> float | None:
  """Returns the highest value of the metric, chosen with hindsight."""
  values = [r[column.metric] for r in run.record.rows if column.metric in r]
  return max(values, default=None)


def best_epoch(run: FinishedRun, column: experiments.Column) -> float | None:
  """Returns the first epoch in which the metric has its highest value."""
  top = best(run, column)
  rows = run.record.rows
  return next((r["epoch"] for r in rows if r.get(column.metric) == top), None)


def gain_of_early_stopping(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Returns the metric's highest value minus its last one."""
  top, last = best(run, column), end(run, column)
  return None if top is None or last is None else top - last


def generalization_error(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Returns test error minus train error in the last row, as fractions."""
  del column
  row = run.record.rows[-1]
  if not {"train/accuracy", "test/accuracy"} <= set(row):
    return None
  return row["train/accuracy"] - row["test/accuracy"]


def epochs_to_fit(run: FinishedRun, column: experiments.Column) -> float | None:
  """Returns the first epoch whose clean train loss is at most the threshold.

  Of data whose equal images have different labels it is the first epoch within
  the threshold of the lowest loss that they permit.
  """
  del column
  return bounds.epochs_to_fit(run.record, run.threshold)


def epochs_to_level(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Returns the first epoch with a clean train loss of at most the level."""
  return runs.epochs_to_fit(run.record.rows, column.level)


def epochs_to_settle(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Returns the first epoch whose clean train loss is near the final one.

  Near means at most `column.level` nats above it. Unlike `epochs_to_fit` this
  has a value for a run whose loss stays above the threshold; None for one that
  ends far from the accuracy that its labels permit, which never fits.
  """
  if not judgements.has_memorized(run.record):
    return None
  rows = run.record.rows
  return runs.epochs_to_fit(rows, rows[-1]["train/loss"] + column.level)


def relative_epochs_to_fit(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Returns epochs to fit, divided by the baseline's."""
  return _relative(epochs_to_fit, run, column)


def relative_epochs_to_settle(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Returns epochs to settle, divided by the baseline's."""
  return _relative(epochs_to_settle, run, column)


def _relative(
  measure: Measure, run: FinishedRun, column: experiments.Column
) -> float | None:
  own = measure(run, column)
  if own is None or run.baseline is None:
    return None
  base = measure(run._replace(record=run.baseline), column)
  return own / base if base else None


def changed_fraction(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Returns the fraction of training labels that corruptions changed."""
  del column
  return run.record.status["corruption"]["changed_fraction"]


def parameters_per_example(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Returns the number of parameters per training example."""
  del column
  status = run.record.status
  return status["parameters"] / status["data"]["train"]
