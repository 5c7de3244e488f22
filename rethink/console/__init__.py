"""Console output of a run: a progress bar on a terminal, else plain lines."""

import contextlib
import os
import pathlib
import sys
import threading
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rethink import errors
from rethink.console import plain_tables
from rethink.storage import bounds, runs

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
  key = "time/images_per_second"  # of rows that were trained for
  speed = f"  {row[key]:,.0f} images/s" if key in row else ""
  return (
    f"{name}  epoch {row['epoch']:3d}  train loss {row['train/loss']:.4f}"
    f" accuracy {row['train/accuracy']:7.2%}  test accuracy"
    f" {row['test/accuracy']:6.2%}{speed}"
  )


# Small runs have hundreds of epochs a minute, so not every epoch is printed.
# Epochs of large runs take hours, so steps within them are.
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_OF_SILENCE = 60.0
_SECONDS_OF_PATIENCE = 3.0  # before it is said what is waited for


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
  """Says what a block does if it takes long, and then now and then again."""
  ended = threading.Event()

  def say() -> None:
    began, pause = time.monotonic(), _SECONDS_OF_PATIENCE
    while not ended.wait(pause):
      print(f"{what}, {time.monotonic() - began:.0f} s so far", flush=True)
      pause = _SECONDS_OF_SILENCE

  thread = threading.Thread(target=say, daemon=True)
  thread.start()
  try:
    yield
  finally:
    ended.set()
    thread.join()


class Progress:
  """Shows the progress of one run; use as a context manager."""

  def __init__(
    self,
    name: str,
    total_steps: int,
    batch_size: int,
    on: bool,
    start: int = 0,
  ):
    """Prepares a progress bar if stdout is a terminal and rich is installed.

    Args:
      name: of the run.
      total_steps: of the whole run.
      batch_size: examples per step.
      on: whether a bar is wanted.
      start: step at which training starts or resumes.
    """
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
      self._task = self._bar.add_task(
        name, total=total_steps, completed=start, status=""
      )

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

  def end(self, step: int) -> None:
    """Shows that training is complete, also if it ended before all steps."""
    if self._bar:
      self._bar.update(self._task, total=step, completed=step)

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
  examples = status["data"]["train"]
  whole = ""
  if batch_size > examples:
    whole = (
      f" of all examples (config.batch_size={batch_size:,} is more: every epoch"
      " is one step)"
    )
  return (
    f"{name}: {examples:,} examples, labels changed"
    f" {status['corruption']['changed_fraction']:.1%},"
    f" {status['parameters']:,} parameters, {num_steps:,} steps{whole} on"
    f" {where}{seen(status)}{resumed}"
  )


def seen(status: Mapping[str, Any]) -> str:
  """Returns ", sees 28x28 of 32x32 pixels", or "" for whole images.

  Args:
    status: content of status.json.
  """
  used, stored = (
    status["data"][f"pixels_{which}"] for which in ("seen", "stored")
  )
  if used == stored:
    return ""
  pixels = "x".join(map(str, used))
  if stored is None:
    return f", sees {pixels} pixels, resized"
  return f", sees {pixels} of {'x'.join(map(str, stored))} pixels"


def results_table(
  named: Sequence[tuple[str, str | os.PathLike]],
  failed: Mapping[str, str] = types.MappingProxyType({}),
) -> str:
  """Returns a Markdown table of runs; missing numbers are dashes.

  Args:
    named: (name, run directory) of each row.
    failed: name to a word, of runs that failed just now: their numbers, if
      there are any, are older ones.
  """
  rows = [_cells(name, folder) for name, folder in named]
  for at, (name, *cells) in enumerate(rows):
    if name in failed:
      rows[at] = (f"{name} ({failed[name]})", *cells)
  return plain_tables.table(_HEADER, rows)


def is_results_table(path: pathlib.Path) -> bool:
  """Returns True if a file is such a table, as a sweep leaves it."""
  try:
    with path.open("rb") as file:
      start = file.read(64).decode(errors="replace")
  except OSError:
    return False
  return start.replace(" ", "").startswith(f"|{_HEADER[0]}|{_HEADER[1]}|")


def _cells(name: str, workdir: str | os.PathLike) -> tuple[str, ...]:
  dashes = ["-"] * (len(_HEADER) - 1)
  try:
    record = runs.read(workdir)
  except errors.ConfigError as error:  # the other rows are worth the table
    print(f"rethink: warning: {error}", file=sys.stderr, flush=True)
    return (f"{name} (damaged)", *dashes)
  if not (record.rows and record.config):
    return (name, *dashes)
  row, status = record.rows[-1], record.status
  fitted = None
  if runs.method_of(record) == "train":
    threshold = record.config["bookkeeping"]["fit_threshold"]
    fitted = bounds.epochs_to_fit(record, threshold)
  limits = bounds.of(record)
  if limits.constant_since is not None and not fitted:
    fitted = f"constant since {limits.constant_since}"
  overlap = limits.test_overlap

  def cell(form: str, *path: str) -> str:
    value: Any = status
    for part in path:
      if part not in value:
        return "-"
      value = value[part]
    return form.format(value)

  return (
    name,
    cell("{:,}", "parameters"),
    cell("{:,}", "data", "train"),
    cell("{:.1%}", "corruption", "changed_fraction"),
    str(row["epoch"]),
    str(fitted or "-"),
    f"{row['train/accuracy']:.2%}" if "train/accuracy" in row else "-",
    (f"{row['test/accuracy']:.2%}" if "test/accuracy" in row else "-")
    + (f" ({overlap:,} trained on)" if overlap else ""),
    cell("{:.1f}", "seconds"),
  )
