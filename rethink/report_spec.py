"""Classes that declare the tables, figures and verdicts of a report.

Configs use them as `experiments.<name>`; `rethink.report` fills and draws them.
The declarations are plain data, so that configs import nothing heavy.
"""

from collections.abc import Mapping
from typing import NamedTuple

Points = tuple[tuple[float, float], ...]


class Line(NamedTuple):
  """A learning curve.

  Attributes:
    label: text in the legend.
    runs: names of the runs, as in `Row.runs`.
    metric: key in the rows of metrics.jsonl.
    paper: (epoch, value) as measured in the paper's figure, in the unit of the
      vertical axis.
  """

  label: str
  runs: str
  metric: str
  paper: Points = ()


class Curves(NamedTuple):
  """A figure of metrics over epochs.

  Attributes:
    key: part of the name of its files.
    title: title on the page.
    ylabel: label of the vertical axis.
    lines: the curves.
    unit: "%" or "nats", as in `Column.unit`.
    until: last epoch to show; 0 shows all epochs.
    early_stopping: whether to shade the area between a test curve and its
      running best.
  """

  key: str
  title: str
  ylabel: str
  lines: tuple[Line, ...]
  unit: str = "nats"
  until: float = 0.0
  early_stopping: bool = False


class Series(NamedTuple):
  """A line through rows of a table.

  Attributes:
    label: text in the legend.
    points: (position on the horizontal axis, `Row.runs` of the row).
  """

  label: str
  points: tuple[tuple[float, str], ...]


class Against(NamedTuple):
  """A figure of one column of a table against a property of its rows.

  Attributes:
    key: part of the name of its files.
    title: title on the page.
    table: key of the table.
    column: key of the column.
    xlabel: label of the horizontal axis.
    series: the lines.
    level: value to mark by a horizontal line; None draws no line.
    level_label: text beside that line.
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
  """A curve that runs have saved by `runs.Run.log_curve`.

  Attributes:
    label: text in the legend.
    runs: names of the runs, as in `Row.runs`.
    curve: name under which the runs saved it.
    x: name of the array for the horizontal axis.
    y: name of the array for the vertical axis.
  """

  label: str
  runs: str
  curve: str
  x: str
  y: str


class Profile(NamedTuple):
  """A figure of saved curves over another axis than epochs.

  Attributes:
    key: part of the name of its files.
    title: title on the page.
    xlabel: label of the horizontal axis.
    ylabel: label of the vertical axis.
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
    key: part of the name of its files.
    title: title on the page.
    series: (text in the legend, `Row.runs` of runs whose labels are partially
      corrupted).
  """

  key: str
  title: str
  series: tuple[tuple[str, str], ...]


Plot = Curves | Against | Profile | Examples


class Column(NamedTuple):
  """A column of a table: one number for each row.

  Attributes:
    key: the key in `Row.paper` and `Row.tolerances`.
    title: head of the column.
    measure: name of a public function in `rethink.report.measures`.
    metric: key in the rows of metrics.jsonl, for measures that read a metric.
    unit: unit of the shown number. "%" and "points" show 100 times the measure;
      "epochs", "times", "nats" and "" show the measure itself.
    tolerance: largest difference from the paper that counts as agreement, in
      `unit`; None shows differences without judging them.
    level: nats, for `epochs_to_level` and `epochs_to_settle`.
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
    heads: one text for each of the table's heads.
    runs: name of the runs without "/seed<k>".
    paper: column key to the paper's number in the column's unit, or its words.
    parameters: number of parameters of the paper's network; 0 if unknown.
    tolerances: column key to a tolerance that replaces the column's.
    baseline: `runs` of the row that relative measures divide by.
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
    key: name of the table in the CSV and JSON files.
    title: title on the page.
    heads: heads of the leading columns, which describe the rows.
    columns: the columns of numbers.
    rows: the rows, in the order of the page.
  """

  key: str
  title: str
  heads: tuple[str, ...]
  columns: tuple[Column, ...]
  rows: tuple[Row, ...]


class Memorization(NamedTuple):
  """A verdict on memorization: does a learner fit random labels or noise?

  Attributes:
    name: name of the learner.
    random: `Row.runs` of the runs with random labels.
    true: `Row.runs` of the runs with true labels, "" for none.
    noise: `Row.runs` of the runs on images of noise, "" for none.
    augmented: whether the paper's train accuracy is measured on the augmented
      images, during training.
    paper: the paper's result in words.
  """

  name: str
  random: str
  true: str = ""
  noise: str = ""
  augmented: bool = False
  paper: str = ""


class Overall(NamedTuple):
  """A verdict over several set-ups of one learner: does it memorize in any?

  Attributes:
    name: text before the answer.
    of: the verdicts on the set-ups; the first with the strongest answer counts.
  """

  name: str
  of: tuple[Memorization, ...]


class EarlyStopping(NamedTuple):
  """A verdict on early stopping: the gain of the best epoch over the last one.

  Attributes:
    name: name of the learner.
    runs: names of the runs, as in `Row.runs`.
    paper: the paper's result in words.
  """

  name: str
  runs: str
  paper: str = ""


class Report(NamedTuple):
  """The report of an experiment, beside the paper's results.

  Attributes:
    title: title of the experiment.
    source: the table, figure or section of the paper; "" if it is not in it.
    question: the question of the experiment, in a sentence or two.
    tables: at least one table. Figures may show runs that are in no table.
    figures: the figures, in the order of the page.
    verdicts: the answers, shown first.
    notes: what the paper leaves open or contradicts, and our choices.
    train_examples: size of the paper's training set; 0 if it gives none.
    stand_ins: data sets accepted in place of the paper's, each with the remark
      that the report prints beside its numbers.
  """

  title: str
  source: str
  question: str
  tables: tuple[Table, ...]
  figures: tuple[Plot, ...] = ()
  verdicts: tuple[Memorization | Overall | EarlyStopping, ...] = ()
  notes: tuple[str, ...] = ()
  train_examples: int = 0
  stand_ins: Mapping[str, str] = {}
