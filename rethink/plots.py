"""What a figure of a report shows, as plain data; a part of `experiments`.

Configs see these classes there. `rethink.report.figures` draws them.
"""

from typing import NamedTuple

Points = tuple[tuple[float, float], ...]


class Line(NamedTuple):
  """A learning curve.

  Attributes:
    label: for people.
    runs: as in `experiments.Row`.
    metric: of metrics.jsonl.
    paper: (epoch, value in shown units) as measured in the paper's figure.
  """

  label: str
  runs: str
  metric: str
  paper: Points = ()


class Curves(NamedTuple):
  """A figure of metrics over epochs.

  Attributes:
    key: part of file names.
    title: for people.
    ylabel: of the vertical axis.
    lines: the curves.
    unit: as in `experiments.Column`.
    until: last epoch shown, 0 for all.
    early_stopping: shade what lies between a curve and its best so far.
  """

  key: str
  title: str
  ylabel: str
  lines: tuple[Line, ...]
  unit: str = "nats"
  until: float = 0.0
  early_stopping: bool = False


class Series(NamedTuple):
  """Rows of a table as a line: (horizontal value, the rows' runs)."""

  label: str
  points: tuple[tuple[float, str], ...]


class Against(NamedTuple):
  """A figure of one column of a table against a property of its rows.

  Attributes:
    key: part of file names.
    title: for people.
    table: key of the table.
    column: key of its column.
    xlabel: of the horizontal axis.
    series: the lines.
    level: a value to mark with a horizontal line, None for none.
    level_label: what that value is.
    log: the logarithmic axes: "", "x", "y" or "xy".
  """

  key: str
  title: str
  table: str
  column: str
  xlabel: str
  series: tuple[Series, ...]
  level: float | None = None
  level_label: str = ""
  log: str = ""


class Trace(NamedTuple):
  """A curve that runs have saved, see `runs.Run.log_curve`.

  Attributes:
    label: for people.
    runs: as in `experiments.Row`.
    curve: its name.
    x: name of its array for the horizontal axis.
    y: name of its array for the vertical axis.
  """

  label: str
  runs: str
  curve: str
  x: str
  y: str


class Profile(NamedTuple):
  """A figure of saved curves, over what is no epoch.

  Attributes:
    key: part of file names.
    title: for people.
    xlabel: of the horizontal axis.
    ylabel: of the vertical axis.
    traces: the curves.
    log: the logarithmic axes: "", "x", "y" or "xy".
  """

  key: str
  title: str
  xlabel: str
  ylabel: str
  traces: tuple[Trace, ...]
  log: str = ""


class Examples(NamedTuple):
  """A figure of clean and corrupted training examples over epochs.

  Attributes:
    key: part of file names.
    title: for people.
    series: (label, runs) of partially corrupted labels.
  """

  key: str
  title: str
  series: tuple[tuple[str, str], ...]


Plot = Curves | Against | Profile | Examples
