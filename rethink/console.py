"""Console output of a run: a progress bar on a terminal, else plain lines."""

import itertools
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rethink.storage import runs

try:
  import rich.progress as rich_progress
except ImportError:
  rich_progress = None

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


def line(row: runs.Row, name: str) -> str:
  """Formats a row of metrics as one line."""
  return (
    f"{name}  epoch {row['epoch']:3d}  train loss {row['train/loss']:.4f}"
    f" accuracy {row['train/accuracy']:7.2%}  test accuracy"
    f" {row['test/accuracy']:6.2%}  {row['time/images_per_second']:,.0f}"
    " images/s"
  )


def flat(text: str) -> str:
  """Returns text for Markdown on one line, in which no markup begins."""
  return " ".join(text.split()).replace("<", r"\<")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Returns a Markdown table whose columns also line up as plain text.

  Line breaks in a cell become spaces, and bars and "<" are escaped.
  """
  header, *rows = (
    [flat(cell).replace("|", r"\|") for cell in row] for row in (header, *rows)
  )
  widths = [
    max(len(cell) for cell in column)
    for column in zip(header, *rows, strict=True)
  ]

  def one(cells):
    padded = (
      cell.ljust(width) for cell, width in zip(cells, widths, strict=True)
    )
    return f"| {' | '.join(padded)} |"

  rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
  return "\n".join([one(header), rule, *map(one, rows)])


def fitted(text: str, columns: int = 0) -> str:
  """Returns a table whose heads are broken into lines if it is too wide.

  Args:
    text: a Markdown table as `table` makes it.
    columns: width; 0 is that of the terminal, and no limit without one.
  """
  if not columns:
    terminal = sys.stdout is not None and sys.stdout.isatty()
    columns = shutil.get_terminal_size().columns if terminal else len(text)
  rows = text.splitlines()
  if len(rows[0]) <= columns:
    return text
  header, _, *body = [
    [
      re.sub(r"\\([|<])", r"\1", cell.strip())
      for cell in re.split(r"(?<!\\)\|", row)[1:-1]
    ]
    for row in rows
  ]
  widths = [
    max([*map(len, head.split()), *(len(row[i]) for row in body)])
    for i, head in enumerate(header)
  ]
  heads = [
    textwrap.wrap(head, width) or [""]
    for head, width in zip(header, widths, strict=True)
  ]
  lines = itertools.zip_longest(*heads, fillvalue="")
  first, *others = [list(line) for line in lines]
  top, rule, *rest = table(first, [*others, *body]).splitlines()
  return "\n".join([top, *rest[: len(others)], rule, *rest[len(others) :]])


# Small runs have hundreds of epochs a minute, so not every epoch is printed.
# Epochs of large runs take hours, so steps within them are.
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_OF_SILENCE = 60.0


class Progress:
  """Shows the progress of one run; use as a context manager."""

  def __init__(self, name: str, total_steps: int, batch_size: int, on: bool):
    """Prepares a progress bar if stdout is a terminal and rich is installed."""
    self._name = name
    self._total_steps = total_steps
    self._batch_size = batch_size
    self._last: tuple[int, float] | None = None
    self._printed = time.monotonic()
    self._unprinted: runs.Row | None = None
    self._bar = None
    if on and rich_progress and sys.stdout.isatty():
      self._bar = rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn("{task.fields[status]}"),
        rich_progress.TimeRemainingColumn(elapsed_when_finished=True),
      )
      self._task = self._bar.add_task(name, total=total_steps, status="")

  def __enter__(self) -> "Progress":
    if self._bar:
      self._bar.start()
    return self

  def __exit__(self, *exc_info) -> None:
    if self._unprinted:
      self._print(self._unprinted)
    if self._bar:
      self._bar.stop()

  def step(self, step: int, loss: float, accuracy: float) -> None:
    """Shows a step and the running means of its epoch (`batch/*`)."""
    now = time.monotonic()
    if self._bar:
      speed = ""
      if self._last and step > self._last[0]:
        steps, seconds = step - self._last[0], now - self._last[1]
        speed = f", {steps * self._batch_size / seconds:,.0f} images/s"
      self._last = (step, now)
      self._bar.update(
        self._task,
        completed=step,
        status=f"batch loss {loss:.4f}, accuracy {accuracy:.2%}{speed}",
      )
    elif now - self._printed > _SECONDS_OF_SILENCE:
      print(
        f"{self._name}  step {step:,} of {self._total_steps:,}"
        f"  batch loss {loss:.4f} accuracy {accuracy:.2%}",
        flush=True,
      )
      self._printed = now

  def row(self, row: runs.Row) -> None:
    """Shows an evaluated epoch; the last epoch is always shown."""
    self._unprinted = row
    if time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
      self._print(row)

  def _print(self, row: runs.Row) -> None:
    text = line(row, self._name)
    if self._bar:
      self._bar.console.print(text, highlight=False)
    else:
      print(text, flush=True)
    self._printed, self._unprinted = time.monotonic(), None


def headline(
  name: str,
  status: Mapping[str, Any],
  batch_size: int,
  num_steps: int,
  step: int,
) -> str:
  """Returns the line that describes a run before it trains.

  Args:
    name: name of the run.
    status: content of status.json.
    batch_size: examples per step.
    num_steps: total number of optimizer steps.
    step: step at which training starts or resumes.
  """
  devices = status["devices"]
  where = status["device"] + (f" x {devices}" if devices > 1 else "")
  if batch_size % devices:
    where += (
      f" (config.batch_size={batch_size} is not divisible by {devices}: every"
      " device computes the whole batch)"
    )
  resumed = f", resuming at step {step}" if step else ""
  return (
    f"{name}: {status['data']['train']:,} examples, labels changed"
    f" {status['corruption']['changed_fraction']:.1%},"
    f" {status['parameters']:,} parameters, {num_steps:,} steps on"
    f" {where}{resumed}"
  )


def results_table(named: Sequence[tuple[str, str | os.PathLike]]) -> str:
  """Returns a Markdown table of runs; missing numbers are dashes.

  Args:
    named: (name, run directory) of each row.
  """
  return table(_HEADER, [_cells(n, runs.read(w)) for n, w in named])


def _cells(name: str, record: runs.Record) -> tuple[str, ...]:
  status = record.status
  if not record.rows:
    return (name, *["-"] * (len(_HEADER) - 1))
  row = record.rows[-1]
  bookkeeping = record.config["bookkeeping"]
  fitted = None
  if runs.method_of(record) == "train":
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
