"""Bounds that the data of a run set to its numbers, as it has recorded them.

Runs of earlier versions have recorded none: for them everything can be
attained. Imports no JAX, like `runs`.
"""

from typing import Any, NamedTuple

from rethink.storage import runs


class RunBounds(NamedTuple):
  """Bounds of a run's numbers; accuracies are fractions.

  Attributes:
    ceiling: highest train accuracy that equal images with different labels
      permit; 1.0 without such, or if it is not known.
    loss_floor: nats; lowest clean train loss that they permit; 0.0 likewise.
    majority: train accuracy of always answering the commonest label; None if
      it is not known.
    constant_since: the network's output is the same for every training image
      since this epoch; None if it is alive, or if that is not known.
    train_duplicates: training images that equal an earlier one.
    test_duplicates: test images that equal a training image.
    test_overlap: test examples that are training examples.
  """

  ceiling: float
  loss_floor: float
  majority: float | None
  constant_since: int | None
  train_duplicates: int
  test_duplicates: int
  test_overlap: int


def of(record: runs.Record) -> RunBounds:
  """Returns the bounds that a run has recorded."""
  status = record.status
  facts: dict[str, Any] = status.get("attainable") or {}
  ceiling = facts.get("train_accuracy_ceiling")
  return RunBounds(
    ceiling=1.0 if ceiling is None else ceiling,
    loss_floor=facts.get("train_loss_floor") or 0.0,
    majority=facts.get("train_majority"),
    constant_since=status.get("constant_since_epoch"),
    train_duplicates=facts.get("train_duplicates") or 0,
    test_duplicates=facts.get("test_duplicates") or 0,
    test_overlap=status.get("test_overlap") or 0,
  )


def epochs_to_fit(record: runs.Record, threshold: float) -> int | None:
  """Returns the first evaluated epoch in which a run has fitted its labels.

  Args:
    record: of the run.
    threshold: nats; the clean train loss may be that far above its floor.
  """
  return runs.epochs_to_fit(record.rows, of(record).loss_floor + threshold)
