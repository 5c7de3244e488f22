"""A table of results, from run directories alone."""

import os
from collections.abc import Sequence

from rethink import console, runs

_HEADER = (
  "run",
  "parameters",
  "examples",
  "labels changed",
  "epochs",
  "epochs to fit",
  "train accuracy",
  "test accuracy",
  "seconds",
)


def table(named: Sequence[tuple[str, str | os.PathLike]]) -> str:
  """Markdown, a row for each (name, workdir); a dash for what is missing."""
  return console.table(_HEADER, [_cells(n, runs.read(w)) for n, w in named])


def _cells(name: str, record: runs.Record) -> tuple[str, ...]:
  status = record.status
  if not record.rows:
    return (name, *["-"] * (len(_HEADER) - 1))
  row = record.rows[-1]
  bookkeeping = record.config["bookkeeping"]
  fitted = None
  if "fit_threshold" in bookkeeping:  # trained, not solved
    fitted = runs.epochs_to_fit(record.rows, bookkeeping["fit_threshold"])
  return (
    name,
    f"{status['parameters']:,}",
    f"{status['data']['train']:,}",
    f"{status['corruption']['changed_fraction']:.1%}",
    str(row["epoch"]),
    str(fitted or "-"),
    *(
      f"{row[key]:.2%}" if key in row else "-"
      for key in ("train/accuracy", "test/accuracy")
    ),
    f"{status['seconds']:.1f}",
  )
