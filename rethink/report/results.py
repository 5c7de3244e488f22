"""Reads the runs of an experiment; averages columns over seeds into cells."""

import pathlib
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

from rethink import errors, experiments
from rethink.report import comparability, measures, sources
from rethink.storage import runs

_FACTORS = {"%": 100.0, "points": 100.0}


class Group(NamedTuple):
  """Runs that differ only in their seed.

  Attributes:
    name: name of the runs, without "/seed<k>".
    expected: number of runs there should be: one for each seed that any run of
      the experiment has used; 0 if the experiment has no such runs.
    done: "seed<k>" to the record of a run that is done and counted.
    unfinished: for each other run that exists, its state or the reason why it
      cannot be averaged with the ones in `done`.
    reduced: reasons why the runs are not comparable with the paper; () if they
      are comparable.
    remark: remark on the data set, "" for none.
    threshold: nats; a run fits when its clean train loss is at most this.
  """

  name: str
  expected: int
  done: dict[str, runs.Record]
  unfinished: tuple[str, ...]
  reduced: tuple[str, ...]
  remark: str
  threshold: float

  @property
  def records(self) -> list[runs.Record]:
    """The records of the runs that are done, in the order of seeds."""
    return list(self.done.values())

  @property
  def missing(self) -> int:
    """The number of expected runs that were never started."""
    return self.expected - len(self.done) - len(self.unfinished)


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
  """

  values: tuple[float, ...]
  never: int
  paper: float | str | None
  difference: float | None
  agrees: bool | None

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
    self._groups: dict[str, Group] = {}
    # Configs name five seeds. A seed that no run has used was never asked for,
    # so it does not count as missing.
    folder = source.folder(root)
    begun = [r for r in source.runs if (folder / r / "config.json").exists()]
    self._seeds = {_seed(run) for run in begun} or {"seed0"}
    self._parameters = {
      row.runs: row.parameters
      for table in source.report.tables
      for row in table.rows
    }

  def group(self, name: str) -> Group:
    """Returns the runs called `name`/seed<k>.

    Raises:
      ConfigError: if a run directory cannot be read; the message names it.
    """
    if name not in self._groups:
      self._groups[name] = self._read_group(name)
    return self._groups[name]

  def cell(self, row: experiments.Row, column: experiments.Column) -> Cell:
    """Returns a column's number for a row's runs, beside the paper's."""
    measure = _measure(column.measure)
    group = self.group(row.runs)
    base = self.group(row.baseline) if row.baseline else None
    baselines = base.done if base else {}
    finished = [
      measures.FinishedRun(
        record,
        group.threshold,
        baselines[seed] if seed in baselines else None,
      )
      for seed, record in group.done.items()
    ]
    numbers = [measure(run, column) for run in finished]
    factor = _FACTORS[column.unit] if column.unit in _FACTORS else 1.0
    values = tuple(factor * value for value in numbers if value is not None)
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
    return Cell(values, never, paper, difference, agrees)

  def _read_group(self, name: str) -> Group:
    folder = self.source.folder(self.root)
    known = [
      run
      for run in self.source.runs
      if run == f"{name}/{_seed(run)}" and _seed(run) in self._seeds
    ]
    done, unfinished, reduced, remarks = {}, [], {}, {}
    threshold = self._threshold
    for run in known:
      record = runs.read(folder / run)
      config = self.source.get_config(run).to_dict()
      bookkeeping = config.pop("bookkeeping")
      if record.config:
        bookkeeping = record.config["bookkeeping"]
      if threshold is None and runs.method_name(config) != "interpolate":
        threshold = bookkeeping["fit_threshold"]
      if not record.status:
        continue
      seed = _seed(run)
      try:
        state = record.status["state"]
        if state == "done":
          _check_complete(record)
          differences = done and comparability.setup_differences(
            next(iter(done.values())), record
          )
          if differences:
            unfinished.append(f"{seed}, which has {differences}")
            continue
          done[seed] = record
          why = comparability.reasons(
            config,
            record,
            self.source.report,
            self._parameters[name] if name in self._parameters else 0,
          )
          reduced |= dict.fromkeys(why)
          remarks[comparability.remark(record, self.source.report)] = None
        else:
          epoch = record.rows[-1]["epoch"] if record.rows else 0
          unfinished.append(f"{seed} {state} at epoch {epoch}")
      except KeyError as error:
        raise errors.ConfigError(
          f"{folder / run}: config.json or status.json has no field {error};"
          " delete this run directory and run it again"
        ) from None
    return Group(
      name,
      len(known),
      done,
      tuple(unfinished),
      tuple(reduced),
      "; ".join(filter(None, remarks)),
      threshold or 0.0,
    )


def _check_complete(record: runs.Record) -> None:
  last = record.rows[-1]["step"] if record.rows else "none"
  if last != record.status["step"]:
    raise errors.ConfigError(
      f"{record.workdir / 'metrics.jsonl'} ends at step {last}, but status.json"
      f" says that the run ended at step {record.status['step']}; restore the"
      " file, or delete this run directory and run it again"
    )


def _seed(run: str) -> str:
  return run.rpartition("/")[2]


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
