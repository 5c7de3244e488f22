"""Figures of an experiment: curves, columns of tables, examples."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import lines as mpl_lines

from rethink import experiments
from rethink.report import results, style

Look = dict[str, Any]  # of a line
_FADED = 0.45  # all seeds but the first
_ON_CLEAN, _ON_CORRUPTED = (
  "train/accuracy_on_clean",
  "train/accuracy_on_corrupted",
)


class Figure(NamedTuple):
  """A drawn figure.

  Attributes:
    key: name of its files.
    title: for people.
    caption: what is drawn from how many runs, and what is missing.
    svg: text of the file.
    png: bytes of the file.
  """

  key: str
  title: str
  caption: str
  svg: str
  png: bytes


def all_of(found: results.Results) -> list[Figure]:
  """The figures of an experiment that have runs to show."""
  figures = []
  for wanted in found.source.report.figures:
    key = f"{found.source.name}-{wanted.key}"
    labels = _labels(wanted)
    with style.context(key):
      drawn = style.new()
      axes = drawn.add_subplot()
      comparable = not any(found.group(runs).reduced for runs in labels)
      if isinstance(wanted, experiments.Curves):
        paper = _curves(axes, wanted, found, comparable)
      elif isinstance(wanted, experiments.Against):
        paper = _against(axes, wanted, found, comparable)
      else:
        paper = _examples(axes, wanted, found)
      if axes.lines:
        caption = _caption(found, labels, paper, comparable)
        figures.append(
          Figure(key, wanted.title, caption, style.svg(drawn), style.png(drawn))
        )
  return figures


def _labels(wanted) -> dict[str, str]:
  """What a figure's runs are called in it."""
  if isinstance(wanted, experiments.Curves):
    return {line.runs: line.label for line in wanted.lines}
  if isinstance(wanted, experiments.Examples):
    return {runs: label for label, runs in wanted.series}
  return {
    runs: f"{series.label} at {x:g}"
    for series in wanted.series
    for x, runs in series.points
  }


def _curves(
  axes: mpl_axes.Axes,
  wanted: experiments.Curves,
  found: results.Results,
  comparable: bool,
) -> bool:
  """Draws; says whether the paper has lines for what is drawn."""
  factor = 100 if wanted.unit == "%" else 1
  last, paper = 0, False
  for i, line in enumerate(wanted.lines):
    color = style.COLORS[i]
    records = found.group(line.runs).records
    for n, record in enumerate(records):
      rows = [row for row in record.rows if line.metric in row]
      if not rows:
        continue
      epochs = [row["epoch"] for row in rows]
      values = factor * np.array([row[line.metric] for row in rows])
      # About twelve markers, those of different curves beside each other.
      every = max(1, len(epochs) // 12)
      axes.plot(
        epochs,
        values,
        color=color,
        marker=None if n else style.MARKERS[i],
        markevery=(i * every // len(wanted.lines), every),
        alpha=_FADED if n else 1.0,
        label=None if n else line.label,
      )
      if wanted.early_stopping and line.metric.startswith("test/") and not n:
        best = np.maximum.accumulate(values)
        axes.fill_between(epochs, values, best, color=color, alpha=0.2, lw=0)
      last = max(last, epochs[-1])
    if line.paper and records:
      paper = True
      if comparable:
        x, y = zip(*line.paper, strict=True)
        axes.plot(x, y, color=color, **style.PAPER)
  if last:
    until = min(last, wanted.until or last)
    axes.set_xlim(0, 1.02 * until)
  if wanted.unit == "nats":
    axes.set_ylim(bottom=0)
  axes.set_xlabel("epoch")
  axes.set_ylabel(wanted.ylabel)
  _legend(axes, paper and comparable)
  return paper


def _against(
  axes: mpl_axes.Axes,
  wanted: experiments.Against,
  found: results.Results,
  comparable: bool,
) -> bool:
  """Draws; says whether the paper has lines for what is drawn."""
  table = next(t for t in found.source.report.tables if t.key == wanted.table)
  column = next(c for c in table.columns if c.key == wanted.column)
  rows = {row.runs: row for row in table.rows}
  paper = False
  for i, series in enumerate(wanted.series):
    look: Look = dict(color=style.COLORS[i], marker=style.MARKERS[i])
    cells = [
      (x, found.cell(rows[runs], column))
      for x, runs in series.points
      if found.group(runs).expected
    ]
    if not any(cell.values for _, cell in cells):
      continue
    x = [value for value, _ in cells]
    mean = [cell.mean if cell.values else np.nan for _, cell in cells]  # a gap
    std = [cell.std or 0.0 for _, cell in cells]
    axes.errorbar(x, mean, yerr=std, capsize=2, label=series.label, **look)
    printed = [
      (x, cell.paper)
      for x, cell in cells
      if isinstance(cell.paper, (int, float))
    ]
    if printed:
      paper = True
      if comparable:
        x, y = zip(*printed, strict=True)
        axes.plot(x, y, **look, **style.PAPER, **style.SMALL)
  if axes.lines and wanted.level is not None:
    axes.axhline(wanted.level, color=style.INK, linewidth=0.8, linestyle=":")
    axes.annotate(
      wanted.level_label,
      (0.0, wanted.level),
      xytext=(2, 3),
      textcoords="offset points",
    )
  axes.set_xlabel(wanted.xlabel)
  axes.set_ylabel(f"{column.title} ({column.unit})")
  _legend(axes, paper and comparable)
  return paper


def _examples(
  axes: mpl_axes.Axes, wanted: experiments.Examples, found: results.Results
) -> bool:
  """Draws; the paper has no such lines."""
  for i, (label, runs) in enumerate(wanted.series):
    for n, record in enumerate(found.group(runs).records):
      rows = [row for row in record.rows if _ON_CLEAN in row]
      if not rows:
        continue
      epochs = [row["epoch"] for row in rows]
      look: Look = dict(
        color=style.COLORS[i],
        marker=style.MARKERS[i],
        markevery=max(1, len(epochs) // 12),
        alpha=_FADED if n else 1.0,
      )
      for name, kind in ((_ON_CLEAN, {}), (_ON_CORRUPTED, style.CORRUPTED)):
        axes.plot(
          epochs,
          [100 * row[name] for row in rows],
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


def _legend(axes: mpl_axes.Axes, paper: bool) -> None:
  handles, labels = axes.get_legend_handles_labels()
  if paper:
    handles.append(mpl_lines.Line2D([], [], color=style.INK, **style.PAPER))
    labels.append("paper")
  if handles:
    axes.legend(handles, labels)


def _caption(
  found: results.Results,
  labels: dict[str, str],
  paper: bool,
  comparable: bool,
) -> str:
  groups = [found.group(runs) for runs in labels]
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
    text += " Not the paper's scale, so its lines are left out."
  missing = [
    labels[group.name] for group in groups if group.expected and not group.done
  ]
  if missing:
    few, rest = missing[:5], missing[5:]
    text += f" Missing: {', '.join(few)}"
    text += f" and {len(rest)} more." if rest else "."
  return text


def _ends(counts: Sequence[int]) -> list[str]:
  return list(dict.fromkeys(map(str, (min(counts), max(counts)))))
