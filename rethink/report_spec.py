"""Tables, figures and verdicts of a report, declared as plain data.

Configs see these classes as `experiments.<name>`; `rethink.report` draws them.
"""

from collections.abc import Mapping
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


class Column(NamedTuple):
  """A number that a table shows of each of its rows.

  Attributes:
    key: under which a row gives the paper's number.
    title: for people.
    measure: a public function of `rethink.report.measures`.
    metric: of metrics.jsonl, for a measure that reads one.
    unit: of the shown number. "%" and "points" are 100 times the measure;
      "epochs", "times", "nats" and "" are the measure itself.
    tolerance: a difference from the paper that agrees with it, in shown units;
      None shows differences without judging them.
    level: nats, for `epochs_to_level`.
  """

  key: str
  title: str
  measure: str = "end"
  metric: str = ""
  unit: str = "%"
  tolerance: float | None = None
  level: float = 0.0


class Row(NamedTuple):
  """A row of a table: one set-up, run with several seeds.

  Attributes:
    heads: a text for each of the table's heads.
    runs: the runs' name without its last part, "/seed<k>".
    paper: column key to the paper's number in shown units, or its words.
    parameters: of the paper's network, 0 if it gives none.
    tolerances: instead of the columns', by column key.
    baseline: runs that relative measures divide by.
  """

  heads: tuple[str, ...]
  runs: str
  paper: Mapping[str, float | str] = {}
  parameters: int = 0
  tolerances: Mapping[str, float] = {}
  baseline: str = ""


class Table(NamedTuple):
  """A table: columns of numbers for rows of runs.

  Attributes:
    key: part of file names.
    title: for people.
    heads: titles of the rows' own columns.
    columns: the numbers.
    rows: in the order of the page.
  """

  key: str
  title: str
  heads: tuple[str, ...]
  columns: tuple[Column, ...]
  rows: tuple[Row, ...]


class Memorization(NamedTuple):
  """A verdict: does a learner fit what cannot be learned?

  Attributes:
    name: of the learner.
    random: runs with random labels.
    true: runs with true labels, "" for none.
    noise: runs with images of noise, "" for none.
    augmented: whether the paper's train accuracy is that of the augmented
      images, as they were seen.
    paper: what the paper says of it.
  """

  name: str
  random: str
  true: str = ""
  noise: str = ""
  augmented: bool = False
  paper: str = ""


class EarlyStopping(NamedTuple):
  """A verdict: what would stopping at the best test accuracy have gained?

  Attributes:
    name: of the learner.
    runs: as in `Row`.
    paper: what the paper says of it.
  """

  name: str
  runs: str
  paper: str = ""


class Report(NamedTuple):
  """What a report shows of an experiment, and what the paper says of it.

  Attributes:
    title: for people.
    source: where in the paper; "" if it is not there.
    question: what the experiment asks, in a sentence or two.
    tables: at least one; a figure's runs need not stand in one.
    figures: in the order of the page.
    verdicts: Memorization and EarlyStopping, shown first.
    notes: what the paper leaves open or contradicts, and what is done here.
    train_examples: of the paper's training set, 0 if there is no paper.
    stand_ins: data sets that may stand for the paper's, with what to say of it.
  """

  title: str
  source: str
  question: str
  tables: tuple[Table, ...]
  figures: tuple[Plot, ...] = ()
  verdicts: tuple[Memorization | EarlyStopping, ...] = ()
  notes: tuple[str, ...] = ()
  train_examples: int = 0
  stand_ins: Mapping[str, str] = {}
