"""Every public function is a measure: one number of one finished run, or None.

None means that the run does not have it: it never fitted, or did not log it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from rethink import experiments
from rethink.storage import runs


class FinishedRun(NamedTuple):
  """What a measure sees.

  Attributes:
    record: a run that is done.
    threshold: nats; fitted means a clean train loss at or below it.
    baseline: the run that relative measures divide by, same seed.
  """

  record: runs.Record
  threshold: float
  baseline: runs.Record | None = None


Measure = Callable[[FinishedRun, experiments.Column], float | None]


def end(run: FinishedRun, column: experiments.Column) -> float | None:
  """The metric in the last row."""
  return run.record.rows[-1].get(column.metric)


def end_error(run: FinishedRun, column: experiments.Column) -> float | None:
  """One minus the accuracy in the last row."""
  accuracy = end(run, column)
  return None if accuracy is None else 1 - accuracy


def status(run: FinishedRun, column: experiments.Column) -> float | None:
  """What status.json says under the metric's name; "a/b" is b of a."""
  value: Any = run.record.status
  for part in column.metric.split("/"):
    if not isinstance(value, dict) or part not in value:
      return None
    value = value[part]
  return None if value is None else float(value)  # not known of this method


def best(run: FinishedRun, column: experiments.Column) -> float | None:
  """The metric at its highest, chosen with hindsight."""
  values = [r[column.metric] for r in run.record.rows if column.metric in r]
  return max(values, default=None)


def best_epoch(run: FinishedRun, column: experiments.Column) -> float | None:
  """The first epoch at which the metric is at its highest."""
  top = best(run, column)
  rows = run.record.rows
  return next((r["epoch"] for r in rows if r.get(column.metric) == top), None)


def gain_of_early_stopping(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """The metric at its highest less that in the last row."""
  top, last = best(run, column), end(run, column)
  return None if top is None or last is None else top - last


def generalization_error(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Test error less train error in the last row, of accuracies."""
  del column
  row = run.record.rows[-1]
  if not {"train/accuracy", "test/accuracy"} <= set(row):
    return None
  return row["train/accuracy"] - row["test/accuracy"]


def epochs_to_fit(run: FinishedRun, column: experiments.Column) -> float | None:
  """The first epoch whose clean train loss is at most the threshold."""
  del column
  return runs.epochs_to_fit(run.record.rows, run.threshold)


def epochs_to_level(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """The first epoch whose clean train loss is at most the column's level."""
  return runs.epochs_to_fit(run.record.rows, column.level)


def epochs_to_settle(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """The first epoch whose clean train loss is near that of the last one.

  At most the column's level above it; a run that ends unfitted settles, too.
  """
  rows = run.record.rows
  return runs.epochs_to_fit(rows, rows[-1]["train/loss"] + column.level)


def relative_epochs_to_fit(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Epochs to fit, divided by those of the baseline with the same seed."""
  return _relative(epochs_to_fit, run, column)


def relative_epochs_to_settle(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Epochs to settle, divided by those of the baseline with the same seed."""
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
  """The fraction of training labels that corruptions really changed."""
  del column
  return run.record.status["corruption"]["changed_fraction"]


def parameters_per_example(
  run: FinishedRun, column: experiments.Column
) -> float | None:
  """Parameters of the network, divided by the number of training examples."""
  del column
  status = run.record.status
  return status["parameters"] / status["data"]["train"]
