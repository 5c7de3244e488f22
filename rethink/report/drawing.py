"""Draws the kinds of figures that `report_spec` declares."""

from typing import Any

import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import lines as mpl_lines
from matplotlib import ticker

from rethink import experiments
from rethink.report import results, style, tables
from rethink.storage import runs

Look = dict[str, Any]  # keyword arguments of a Matplotlib line
_FADED = 0.45  # opacity of all seeds but the first
_ON_CLEAN = "train/accuracy_on_clean"
_ON_CORRUPTED = "train/accuracy_on_corrupted"


def draw(
  axes: mpl_axes.Axes,
  plot: experiments.Plot,
  experiment: results.Results,
  comparable: bool,
) -> bool:
  """Draws a figure and returns whether the paper has lines for it.

  Args:
    axes: empty axes; they stay empty if there are no runs to show.
    plot: the declaration of the figure.
    experiment: the runs to draw.
    comparable: whether to draw the paper's lines beside the runs.
  """
  if isinstance(plot, experiments.Curves):
    return _curves(axes, plot, experiment, comparable)
  if isinstance(plot, experiments.Against):
    return _against(axes, plot, experiment, comparable)
  if isinstance(plot, experiments.Profile):
    return _profile(axes, plot, experiment)
  return _examples(axes, plot, experiment)


def _curves(
  axes: mpl_axes.Axes,
  plot: experiments.Curves,
  experiment: results.Results,
  comparable: bool,
) -> bool:
  """Draws metrics over epochs; returns whether the paper has such lines."""
  factor = 100 if plot.unit == "%" else 1
  last, paper = 0, False
  for i, line in enumerate(plot.lines):
    look = style.look(i)
    records = experiment.group(line.runs).records
    for n, record in enumerate(records):
      rows = [row for row in record.rows if line.metric in row]
      if not rows:
        continue
      epochs = [row["epoch"] for row in rows]
      values = factor * np.array([row[line.metric] for row in rows])
      # About twelve markers a curve, shifted so that curves that lie on each
      # other still show their markers.
      every = max(1, len(epochs) // 12)
      axes.plot(
        epochs,
        values,
        color=look["color"],
        marker=None if n else look["marker"],
        markevery=(i * every // len(plot.lines), every),
        alpha=_FADED if n else 1.0,
        label=None if n else line.label,
      )
      if plot.early_stopping and line.metric.startswith("test/") and not n:
        best = np.maximum.accumulate(values)
        axes.fill_between(
          epochs, values, best, color=look["color"], alpha=0.2, lw=0
        )
      last = max(last, epochs[-1])
    if line.paper and records:
      paper = True
      if comparable:
        x, y = zip(*line.paper, strict=True)
        axes.plot(x, y, color=look["color"], **style.PAPER)
  if last:
    until = min(last, plot.until or last)
    axes.set_xlim(0, 1.02 * until)
  if plot.unit == "nats":
    axes.set_ylim(bottom=0)
  axes.set_xlabel("epoch")
  axes.set_ylabel(plot.ylabel)
  _legend(axes, paper and comparable)
  return paper


def cells(
  plot: experiments.Against, experiment: results.Results
) -> dict[str, results.Cell]:
  """Returns the cells of the table that a figure draws, by name of runs."""
  known = experiment.source.report.tables
  table = next(table for table in known if table.key == plot.table)
  column = _column(plot, experiment)
  rows = {row.runs: row for row in table.rows}
  return {
    name: experiment.cell(rows[name], column)
    for series in plot.series
    for _, name in series.points
    if experiment.group(name).expected
  }


def _against(
  axes: mpl_axes.Axes,
  plot: experiments.Against,
  experiment: results.Results,
  comparable: bool,
) -> bool:
  """Draws a column of a table; returns whether the paper has such points."""
  column = _column(plot, experiment)
  drawn = cells(plot, experiment)
  paper = False
  for i, series in enumerate(plot.series):
    look: Look = style.look(i)
    points = [(x, drawn[name]) for x, name in series.points if name in drawn]
    if not any(cell.values for _, cell in points):
      continue
    x = [value for value, _ in points]
    mean = [cell.mean if cell.values else np.nan for _, cell in points]  # a gap
    std = [cell.std or 0.0 for _, cell in points]
    axes.errorbar(x, mean, yerr=std, capsize=2, label=series.label, **look)
    printed = [
      (x, cell.paper)
      for x, cell in points
      if isinstance(cell.paper, (int, float))
    ]
    if printed:
      paper = True
      if comparable:
        x, y = zip(*printed, strict=True)
        axes.plot(x, y, **look, **style.PAPER, **style.SMALL)
  if axes.lines and plot.level is not None:
    axes.axhline(plot.level, color=style.INK, linewidth=0.8, linestyle=":")
    axes.annotate(
      plot.level_label,
      (0.0, plot.level),
      xytext=(2, 3),
      textcoords="offset points",
    )
  axes.set_xlabel(plot.xlabel)
  axes.set_ylabel(tables.title(column))
  _scale(axes, plot.log)
  _legend(axes, paper and comparable)
  return paper


def _column(
  plot: experiments.Against, experiment: results.Results
) -> experiments.Column:
  known = experiment.source.report.tables
  table = next(table for table in known if table.key == plot.table)
  return next(column for column in table.columns if column.key == plot.column)


def _profile(
  axes: mpl_axes.Axes, plot: experiments.Profile, experiment: results.Results
) -> bool:
  """Draws saved curves; returns False, as the paper has no such lines."""
  for i, trace in enumerate(plot.traces):
    look = style.look(i)
    for n, record in enumerate(experiment.group(trace.runs).records):
      curve = runs.read_curve(record.workdir, trace.curve)
      if not curve:
        continue
      axes.plot(
        curve[trace.x],
        curve[trace.y],
        color=look["color"],
        marker=None if n else look["marker"],
        markevery=0.1,  # even spacing along the line, also on logarithmic axes
        alpha=_FADED if n else 1.0,
        label=None if n else trace.label,
      )
  axes.set_xlabel(plot.xlabel)
  axes.set_ylabel(plot.ylabel)
  _scale(axes, plot.log)
  _legend(axes, paper=False)
  return False


def _examples(
  axes: mpl_axes.Axes, plot: experiments.Examples, experiment: results.Results
) -> bool:
  """Draws one line for clean and one for corrupted examples."""
  for i, (label, name) in enumerate(plot.series):
    for n, record in enumerate(experiment.group(name).records):
      rows = [
        row for row in record.rows if {_ON_CLEAN, _ON_CORRUPTED} <= row.keys()
      ]
      if not rows:
        continue
      epochs = [row["epoch"] for row in rows]
      look: Look = dict(
        **style.look(i),
        markevery=max(1, len(epochs) // 12),
        alpha=_FADED if n else 1.0,
      )
      for metric, kind in ((_ON_CLEAN, {}), (_ON_CORRUPTED, style.CORRUPTED)):
        axes.plot(
          epochs,
          [100 * row[metric] for row in rows],
          label=None if n or kind else label,
          **look,
          **kind,
        )
  axes.set_xlabel("epoch")
  axes.set_ylabel("predicted as labelled (%, clean pass)")
  handles, labels = axes.get_legend_handles_labels()
  if handles:
    axes.legend(
      [
        *handles,
        mpl_lines.Line2D([], [], color=style.INK, marker="o"),
        mpl_lines.Line2D(
          [], [], color=style.INK, marker="o", **style.CORRUPTED
        ),
      ],
      [*labels, "clean examples", "corrupted examples"],
    )
  return False


def _scale(axes: mpl_axes.Axes, log: str) -> None:
  if "x" in log:
    axes.set_xscale("log")
  if "y" in log:
    axes.set_yscale("log")
  for axis in (axes.xaxis, axes.yaxis):
    low, high = axis.get_view_interval()
    if axis.get_scale() == "log" and 1e-2 < low and high < 1e5:
      axis.set_major_formatter(ticker.LogFormatter())  # "100", not "10^2"
      axis.set_minor_formatter(ticker.LogFormatter())


def _legend(axes: mpl_axes.Axes, paper: bool) -> None:
  handles, labels = axes.get_legend_handles_labels()
  if paper:
    handles.append(mpl_lines.Line2D([], [], color=style.INK, **style.PAPER))
    labels.append("paper")
  if handles:
    axes.legend(handles, labels)
