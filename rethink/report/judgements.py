"""Judges whether a run has memorized, against what its data permit."""

import enum
import math
from collections.abc import Collection

from rethink.storage import bounds, runs

# Of the way from chance to the ceiling: "yes" from here on, and "no" below.
MOST, LITTLE = 0.95, 0.05
_LEAST_ROOM = 0.05  # with less between chance and ceiling nothing can be told


class Judgement(enum.Enum):
  """An answer to the question whether a run has memorized its labels."""

  YES = "yes"
  PARTLY = "partly"
  NO = "no"
  UNKNOWN = "cannot be told"


def judge(record: runs.Record, chance: float | None = None) -> Judgement:
  """Judges the train accuracy in the last row of a run.

  Args:
    record: a run that is done.
    chance: used if the run does not record it.

  Returns:
    UNKNOWN if the network is dead, if a learner that does not look at the
    images does as well as any, or if chance or the accuracy is not known.
  """
  accuracy = record.rows[-1].get("train/accuracy")
  found, own = bounds.of(record), chance_of(record)
  floor = chance if own is None else own
  if accuracy is None or found.constant_since is not None:
    return Judgement.UNKNOWN
  if floor is None:
    reached = accuracy >= MOST * found.ceiling
    return Judgement.YES if reached else Judgement.UNKNOWN
  room = found.ceiling - floor
  if room < _LEAST_ROOM:
    return Judgement.UNKNOWN
  share = (accuracy - floor) / room
  if share >= MOST:
    return Judgement.YES
  # Three standard deviations of the accuracy of guesses.
  noise = 3 * math.sqrt(floor * (1 - floor) / record.status["data"]["train"])
  if share < LITTLE or accuracy - floor < noise:
    return Judgement.NO
  return Judgement.PARTLY


def chance_of(record: runs.Record) -> float | None:
  """Returns the train accuracy of a learner that does not look at the images.

  None if that is not known.
  """
  majority = bounds.of(record).majority
  return _chance_of_random_labels(record) if majority is None else majority


def has_memorized(record: runs.Record) -> bool:
  """Returns whether a run is judged YES, or has no train accuracy to judge."""
  known = "train/accuracy" in record.rows[-1]
  return not known or judge(record) is Judgement.YES


def overall(found: Collection[Judgement]) -> Judgement:
  """Returns the answer for several seeds: PARTLY if some but not all do."""
  kinds = set(found)
  if len(kinds) == 1:
    return kinds.pop()
  if kinds == {Judgement.NO, Judgement.UNKNOWN}:
    return Judgement.NO
  return Judgement.PARTLY


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
