"""What the data of a run permit: the ceiling, the floor, what chance gives.

A run records these numbers in status.json. Runs of older versions lack them,
which reads as None, or as the value that forbids nothing.
"""

from typing import Any, NamedTuple

from rethink.storage import attained, runs


class Attainable(NamedTuple):
  """Bounds of a run's numbers; accuracies are fractions.

  Attributes:
    ceiling: highest train accuracy that equal images with different labels
      permit; 1.0 without such, or if it is not known.
    loss_floor: nats; lowest clean train loss that they permit; 0.0 likewise.
    chance: train accuracy of a learner that does not look at the images; None
      if it is not known.
    constant_since: the network's output is the same for every training image
      since this epoch; None if it is alive, or if that is not known.
    train_duplicates: training images that equal an earlier one.
    test_duplicates: test images that equal a training image.
    test_overlap: test examples that are training examples.
  """

  ceiling: float
  loss_floor: float
  chance: float | None
  constant_since: int | None
  train_duplicates: int
  test_duplicates: int
  test_overlap: int


def of(record: runs.Record) -> Attainable:
  """Returns the bounds that a run records."""
  status = record.status
  facts: dict[str, Any] = status.get("attainable") or {}
  chance = facts.get("train_majority")
  if chance is None:
    chance = _chance_of_random_labels(record)
  return Attainable(
    ceiling=attained.accuracy_ceiling(record),
    loss_floor=attained.loss_floor(record),
    chance=chance,
    constant_since=attained.constant_since(record),
    train_duplicates=facts.get("train_duplicates") or 0,
    test_duplicates=facts.get("test_duplicates") or 0,
    test_overlap=attained.test_overlap(record),
  )


def remarks(record: runs.Record) -> list[str]:
  """Returns what a reader of the run's accuracies has to know of its data."""
  found, data = of(record), record.status["data"]
  parts = []
  if found.ceiling < 1.0:
    parts.append(
      f"at most {100 * found.ceiling:.2f} % train accuracy can be attained, as"
      " equal images have different labels"
    )
  if found.train_duplicates:
    parts.append(
      f"{found.train_duplicates:,} of {data['train']:,} training images equal"
      " an earlier one"
    )
  if found.test_overlap:
    parts.append(
      f"{found.test_overlap:,} of {data['test']:,} test examples are training"
      " examples"
    )
  elif found.test_duplicates:
    parts.append(
      f"{found.test_duplicates:,} of {data['test']:,} test images equal a"
      " training image"
    )
  if found.constant_since is not None:
    parts.append(
      "the network gives the same output for every image since epoch"
      f" {found.constant_since}"
    )
  return parts


def _chance_of_random_labels(record: runs.Record) -> float | None:
  """Estimates chance for a run that does not record it.

  Uniform labels agree with the true ones as often as a guess would.
  """
  corruption = record.status["corruption"]
  calls = record.config["outcome"].get("corruptions", ())
  names = {call.partition("(")[0] for call in calls}
  uniform = "random_labels" in names or (
    "partially_corrupted_labels" in names
    and corruption.get("label_corruption_probability") == 1.0
  )
  return 1 - corruption["changed_fraction"] if uniform else None
