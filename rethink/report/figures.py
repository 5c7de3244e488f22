"""Figures of an experiment, each with a caption that says what it shows."""

from collections.abc import Sequence
from typing import NamedTuple

from rethink import experiments
from rethink.report import drawing, results, style


class Figure(NamedTuple):
  """A drawn figure.

  Attributes:
    key: name of its files, without the ending.
    title: title on the page.
    caption: number of seeds, data set, and which runs are missing.
    svg: content of the SVG file.
    png: content of the PNG file.
  """

  key: str
  title: str
  caption: str
  svg: str
  png: bytes


def all_of(experiment: results.Results) -> list[Figure]:
  """Returns the figures of an experiment that have runs to show."""
  figures = []
  for plot in experiment.source.report.figures:
    key = f"{experiment.source.name}-{plot.key}"
    labels = _labels(plot)
    with style.context(key):
      drawn = style.new()
      axes = drawn.add_subplot()
      comparable = not any(experiment.group(runs).reduced for runs in labels)
      paper = drawing.draw(axes, plot, experiment, comparable)
      if axes.lines:
        caption = _caption(experiment, labels, paper, comparable)
        if isinstance(plot, experiments.Against):
          caption += _without_value(experiment, plot, labels)
        figures.append(
          Figure(key, plot.title, caption, style.svg(drawn), style.png(drawn))
        )
  return figures


def _labels(plot: experiments.Plot) -> dict[str, str]:
  """Returns the label that a figure gives to each of its runs."""
  if isinstance(plot, experiments.Curves):
    return {line.runs: line.label for line in plot.lines}
  if isinstance(plot, experiments.Profile):
    return {trace.runs: trace.label for trace in plot.traces}
  if isinstance(plot, experiments.Examples):
    return {runs: label for label, runs in plot.series}
  return {
    runs: f"{series.label} at {x:g}"
    for series in plot.series
    for x, runs in series.points
  }


def _caption(
  experiment: results.Results,
  labels: dict[str, str],
  paper: bool,
  comparable: bool,
) -> str:
  groups = [experiment.group(runs) for runs in labels]
  done = [group for group in groups if group.done]
  counts = [len(group.done) for group in done]
  text = "n = " + " to ".join(_ends(counts))
  data = {r.config["data"]["name"]: None for g in done for r in g.records}
  text += f", {', '.join(data)}"
  remarks = dict.fromkeys(group.remark for group in done if group.remark)
  text += "".join(f" ({remark})" for remark in remarks) + "."
  if paper and comparable:
    text += " Thin dashed lines are the paper's."
  elif paper:
    text += (
      " The paper's lines are left out, as these runs are at another scale."
    )
  missing = [
    labels[group.name] for group in groups if group.expected and not group.done
  ]
  return text + _few("Missing", missing)


def _without_value(
  experiment: results.Results, plot: experiments.Against, labels: dict[str, str]
) -> str:
  """Names the runs that are done but have no number in the figure's column."""
  cells = drawing.cells(plot, experiment)
  return _few(
    "Without a value, as no run reached it",
    [
      labels[name]
      for name, cell in cells.items()
      if cell.never and not cell.values
    ],
  )


def _few(title: str, names: Sequence[str]) -> str:
  """Returns a sentence with the first of some names; "" without any."""
  if not names:
    return ""
  rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
  return f" {title}: {', '.join(names[:5])}{rest}."


def _ends(counts: Sequence[int]) -> list[str]:
  """Returns the smallest and the largest count, once if they are equal."""
  return list(dict.fromkeys(map(str, (min(counts), max(counts)))))
