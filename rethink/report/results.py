"""Reads the runs of an experiment; averages columns over seeds into cells."""

import pathlib
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

from rethink import errors, experiments
from rethink.report import groups, measures, sources
from rethink.storage import bounds

_FACTORS = {"%": 100.0, "points": 100.0}


class Cell(NamedTuple):
  """One number of a table, over seeds, in the column's unit.

  Attributes:
    values: one value for each run that has the number, in the order of seeds.
    never: number of finished runs that do not have it.
    paper: the paper's number or words; None if the paper has none.
    difference: mean minus the paper's number; None if the paper has no number,
      or if the runs are not comparable with it.
    agrees: whether the difference is within the tolerance; None if it is not
      judged.
    ceiling: the highest number that the data permit; None if they permit any.
  """

  values: tuple[float, ...]
  never: int
  paper: float | str | None
  difference: float | None
  agrees: bool | None
  ceiling: float | None = None

  @property
  def mean(self) -> float:
    """The mean over seeds."""
    return statistics.fmean(self.values)

  @property
  def std(self) -> float | None:
    """The sample standard deviation over seeds; None for a single seed."""
    return statistics.stdev(self.values) if len(self.values) > 1 else None


class Results:
  """The runs of one experiment, each read once and on demand."""

  def __init__(
    self,
    source: sources.Source,
    root: pathlib.Path,
    threshold: float | None = None,
  ):
    """Lists the runs that exist, without reading them.

    Args:
      source: the experiment.
      root: folder of run directories (--runs).
      threshold: nats; overrides the fit threshold of the runs' configs.
    """
    self.source, self.root, self._threshold = source, root, threshold
    self._groups: dict[str, groups.Group] = {}
    # Configs name five seeds. A seed that no run has used was never asked for,
    # so it does not count as missing.
    folder = source.folder(root)
    begun = [r for r in source.runs if (folder / r / "config.json").exists()]
    self._seeds = {groups.seed(run) for run in begun} or {"seed0"}
    self._parameters = {
      row.runs: row.parameters
      for table in source.report.tables
      for row in table.rows
    }

  def group(self, name: str) -> groups.Group:
    """Returns the runs called `name`/seed<k>; damaged ones are named."""
    if name not in self._groups:
      self._groups[name] = groups.read(
        self.source,
        self.root,
        name,
        self._seeds,
        self._threshold,
        self._parameters[name] if name in self._parameters else 0,
      )
    return self._groups[name]

  def by_seed(
    self, row: experiments.Row, column: experiments.Column
  ) -> dict[str, float | None]:
    """Returns a column's number for each run of a row, in the column's unit."""
    measure = _measure(column.measure)
    factor = _FACTORS[column.unit] if column.unit in _FACTORS else 1.0
    numbers = {
      seed: measure(run, column) for seed, run in self._finished(row).items()
    }
    return {
      seed: None if number is None else factor * number
      for seed, number in numbers.items()
    }

  def _finished(self, row: experiments.Row) -> dict[str, measures.FinishedRun]:
    group = self.group(row.runs)
    bases = self.group(row.baseline).done if row.baseline else {}
    return {
      seed: measures.FinishedRun(
        record, group.threshold, bases[seed] if seed in bases else None
      )
      for seed, record in group.done.items()
    }

  def cell(self, row: experiments.Row, column: experiments.Column) -> Cell:
    """Returns a column's number for a row's runs, beside the paper's."""
    group = self.group(row.runs)
    base = self.group(row.baseline) if row.baseline else None
    finished = self._finished(row).values()
    numbers = self.by_seed(row, column).values()
    values = tuple(value for value in numbers if value is not None)
    paper = row.paper[column.key] if column.key in row.paper else None
    difference = agrees = None
    relative = column.measure.startswith("relative_")
    reduced = group.reduced or (base and relative and base.reduced)
    if values and isinstance(paper, (int, float)) and not reduced:
      difference = statistics.fmean(values) - paper
      tolerance = column.tolerance
      if column.key in row.tolerances:
        tolerance = row.tolerances[column.key]
      if tolerance is not None:
        agrees = abs(difference) <= tolerance + 1e-9
    # A ratio can also be missing because the baseline is missing or never fits;
    # only a run that itself has no value counts as "never".
    own = _measure(column.measure.removeprefix("relative_"))
    never = sum(
      own(run, column) is None and (not relative or run.baseline is not None)
      for run in finished
    )
    ceiling = None
    if column.measure == "end" and column.metric == "train/accuracy":
      ceilings = (bounds.of(run.record).ceiling for run in finished)
      lowest = min(ceilings, default=1.0)
      ceiling = 100 * lowest if lowest < 1.0 else None
    return Cell(values, never, paper, difference, agrees, ceiling)

  def number(self, runs_name: str, column: experiments.Column) -> str:
    """Returns a column's number for runs as a table shows it, with its unit."""
    return with_unit(self.cell(experiments.Row((), runs_name), column), column)


def format_number(value: float, unit: str, single: bool = False) -> str:
  """Formats a number in a column's unit.

  Args:
    value: the number, in that unit.
    unit: of the column.
    single: whether it is the number of a single run, so that epochs are whole.
  """
  if unit == "epochs":
    return f"{value:.0f}" if single else f"{value:.1f}"
  if unit in ("%", "points", "times"):
    return f"{value:.2f}"
  if unit == "nats":
    return f"{value:.4f}"
  whole = value == round(value) and abs(value) < 1e9  # probably a count
  return f"{value:,.0f}" if whole else f"{value:,.6g}"


def with_unit(cell: Cell, column: experiments.Column, words: str = "") -> str:
  """Formats a cell as `text` does, with unit and words after the number."""
  shown = text(cell, column.unit)
  if not cell.values:
    return shown
  number, bracket, counts = shown.partition(" (")
  return f"{number} {column.unit}{words}{bracket}{counts}"


def text(cell: Cell, unit: str) -> str:
  """Formats a cell as "mean ± std"; "never" or a dash if it has no value."""
  if not cell.values:
    return "never" if cell.never and unit in ("epochs", "times") else "—"
  number = format_number(cell.mean, unit, single=len(cell.values) == 1)
  if cell.std is not None:
    number += f" ± {format_number(cell.std, unit)}"
  if cell.never:
    number += f" ({len(cell.values)} of {len(cell.values) + cell.never} runs)"
  return number


def bounded_text(cell: Cell, unit: str) -> str:
  """Formats a cell, with its ceiling if the data set one."""
  if cell.ceiling is None:
    return text(cell, unit)
  return f"{text(cell, unit)}, ceiling {format_number(cell.ceiling, unit)}"


def paper_text(cell: Cell, unit: str) -> str:
  """Formats the paper's number or words; "" if the paper has none."""
  if cell.paper is None or isinstance(cell.paper, str):
    return cell.paper or ""
  return format_number(cell.paper, unit, single=True)


def difference_text(cell: Cell, unit: str) -> str:
  """Formats the signed difference, with a mark if it is judged."""
  if cell.difference is None:
    return ""
  mark = {True: " ✓", False: " ✗", None: ""}[cell.agrees]
  sign = "−" if cell.difference < 0 else "+"
  return f"{sign}{format_number(abs(cell.difference), unit)}{mark}"


def _measure(
  name: str,
) -> Callable[[measures.FinishedRun, experiments.Column], float | None]:
  known: dict[str, Any] = {
    key: value
    for key, value in vars(measures).items()
    if not key.startswith("_") and callable(value) and key != "FinishedRun"
    if getattr(value, "__module__", "") == measures.__name__
  }
  if name not in known:
    raise errors.ConfigError(
      f"REPORT: unknown measure {name!r}; rethink/report/measures.py has:"
      f" {', '.join(known)}"
    )
  return known[name]
