"""Judges the rows of a run against what its data permit.

Runs of earlier versions do not know what that is: for them everything can be
attained. Imports no JAX, like `runs`.
"""

from collections.abc import Mapping
from typing import Any

from rethink.storage import runs


def epochs_to_fit(record: runs.Record, threshold: float) -> int | None:
  """Returns the first evaluated epoch in which a run has fitted its labels.

  Args:
    record: of the run.
    threshold: nats; the clean train loss may be that far above its floor, the
      lowest that equal images with different labels permit.
  """
  return runs.epochs_to_fit(record.rows, loss_floor(record) + threshold)


def loss_floor(record: runs.Record) -> float:
  """Returns the lowest clean train loss that the data permit, in nats."""
  return _fact(record.status, "train_loss_floor", 0.0)


def accuracy_ceiling(record: runs.Record) -> float:
  """Returns the highest train accuracy that the data permit, a fraction."""
  return _fact(record.status, "train_accuracy_ceiling", 1.0)


def constant_since(record: runs.Record) -> int | None:
  """Returns the epoch since which a network's output was one for all images.

  None if it tells images apart, or if that is not known.
  """
  return record.status.get("constant_since_epoch")


def test_overlap(record: runs.Record) -> int:
  """Returns the number of test examples that are training examples."""
  return record.status.get("test_overlap", 0)


def _fact(status: Mapping[str, Any], name: str, unknown: float) -> float:
  value = status.get("attainable", {}).get(name)
  return unknown if value is None else value
