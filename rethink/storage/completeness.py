"""Rows of metrics.jsonl that there should be, and are not."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from rethink.storage import schema


def missing(
  rows: Iterable[Mapping[str, Any]], every: int, end: int
) -> list[int]:
  """Returns the steps of which training has lost the row.

  Args:
    rows: of the run.
    every: steps between two evaluations.
    end: looks at the steps before this one.
  """
  found = {row["step"] for row in rows}
  return [step for step in range(every, end, every) if step not in found]


def obstacle(rows: Iterable[Mapping[str, Any]], every: int, step: int) -> str:
  """Returns why a run cannot go on at a saved state, "" if it can.

  The row of the state's own step may be missing: a run may have been stopped
  while it was computed. For the arguments see `missing`.
  """
  lost = missing(rows, every, step)
  return f"{schema.METRICS} {_lacks(lost)}" if lost else ""


def check_done(
  workdir: pathlib.Path,
  config: Mapping[str, Any],
  status: Mapping[str, Any],
  rows: list[dict[str, Any]],
  *,
  trained: bool,
) -> None:
  """Checks that a run that is done has all its rows.

  Args:
    workdir: the run directory, for messages.
    config: content of config.json.
    status: content of status.json.
    rows: content of metrics.jsonl.
    trained: whether the run has a row for each evaluated epoch.

  Raises:
    RecordError: saying which rows are missing.
  """
  path, end = workdir / schema.METRICS, status["step"]
  last = rows[-1]["step"] if rows else "none"
  if last != end:
    raise schema.RecordError(
      f"{path} ends at step {last}, but status.json says that the run ended at"
      f" step {end}; {schema.ADVICE}"
    )
  every = config["outcome"].get("eval_every_epochs")
  if trained and every and status["epoch"]:
    whole = [row for row in rows if "train/loss" in row]
    lost = missing(whole, every * (end // status["epoch"]), end + 1)
    if lost:
      raise schema.RecordError(f"{path} {_lacks(lost)}; {schema.ADVICE}")


def _lacks(steps: list[int]) -> str:
  """Returns the words that name missing rows."""
  some = ", ".join(map(str, steps[:5])) + (", ..." if len(steps) > 5 else "")
  return f"lacks {len(steps)} rows: those of steps {some}"
