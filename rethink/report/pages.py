"""Writes experiments as Markdown, CSV, JSON and figures, and one HTML page."""

import base64
import importlib.resources
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2

from rethink import errors, experiments
from rethink.console import plain_tables
from rethink.report import (
  figures,
  output,
  results,
  spreadsheets,
  tables,
  verdicts,
)
from rethink.storage import runs


class Section(NamedTuple):
  """Everything that a report shows of one experiment.

  Attributes:
    name: name of its files, without the ending.
    smoke: whether these are the small variants of the runs.
    report: the report as the config declares it.
    verdicts: the answers in words.
    tables: the tables with their numbers.
    figures: the drawn figures.
    finished: run name to record, for every run that is done.
    counts: a sentence with the numbers of runs and of agreements.
    damaged: run name to the reason why it cannot be read.
  """

  name: str
  smoke: bool
  report: experiments.Report
  verdicts: list[verdicts.Verdict]
  tables: list[tables.FilledTable]
  figures: list[figures.Figure]
  finished: dict[str, runs.Record]
  counts: str
  damaged: dict[str, str]

  @property
  def notes_title(self) -> str:
    """The heading of the notes."""
    if self.report.source:
      return "What the paper leaves open, and our choices"
    return "How to read the numbers"


def build_section(experiment: results.Results) -> Section:
  """Reads the runs of an experiment and builds its tables and figures."""
  filled = tables.all_of(experiment)
  finished, damaged = {}, {}
  for name in experiment.source.groups:
    group = experiment.group(name)
    finished |= {f"{name}/{seed}": run for seed, run in group.done.items()}
    damaged |= {f"{name}/{seed}": why for seed, why in group.damaged.items()}
  return Section(
    name=experiment.source.name,
    smoke=experiment.source.smoke,
    report=experiment.source.report,
    verdicts=verdicts.all_of(experiment),
    tables=filled,
    figures=figures.all_of(experiment),
    finished=finished,
    counts=_counts(filled, len(damaged)),
    damaged=damaged,
  )


def _counts(filled: Sequence[tables.FilledTable], damaged: int) -> str:
  rows = [row for table in filled for row in table.rows]
  groups = {row.group.name: row.group for row in rows}.values()
  done = sum(len(group.done) for group in groups)
  text = f"{done} of {sum(group.expected for group in groups)} runs are done."
  if damaged:
    text += f" {damaged} cannot be read."
  cells = [cell for row in rows for cell in row.cells]
  judged = [cell for cell in cells if cell.agrees is not None]
  if judged:
    agree = sum(bool(cell.agrees) for cell in judged)
    text += (
      f" {agree} of {len(judged)} judged numbers are within the tolerance"
      " of the paper's."
    )
  return text


def write(
  sections: Sequence[Section], out: pathlib.Path, replace: bool = False
) -> None:
  """Writes the files of all experiments and the page.

  Args:
    sections: the experiments.
    out: the folder; made if there is none.
    replace: whether a report that shows more runs may be replaced.

  Raises:
    ConfigError: if the folder cannot be written, or holds a report that shows
      more runs, or files of somebody else.
  """
  new = {section.name: set(section.finished) for section in sections}
  output.check(out, new, replace)
  try:
    out.mkdir(parents=True, exist_ok=True)
    for section in sections:
      for figure in section.figures:
        output.write(out / f"{figure.key}.svg", figure.svg)
        output.write(out / f"{figure.key}.png", figure.png)
      output.write(out / f"{section.name}.md", markdown(section))
      output.write(
        out / f"{section.name}.csv",
        spreadsheets.csv_text(section.name, section.tables),
      )
      text = json.dumps(as_json(section), indent=1, ensure_ascii=False)
      output.write(out / f"{section.name}.json", text + "\n")
    output.write(out / "index.html", html(sections))
  except OSError as error:
    raise errors.ConfigError(
      f"--out={out} cannot be written: {error.strerror}"
    ) from None


def markdown(section: Section) -> str:
  """Returns the experiment as Markdown, for readers of the repository."""
  title = f"{section.report.source or 'Own data'}: {section.report.title}"
  parts = [
    f"# {title}" + (" (small variant)" if section.smoke else ""),
    section.report.question,
    "\n".join(
      f"- **{v.subject}:** {plain_tables.flat(v.answer)}."
      + "".join(
        f" {plain_tables.flat(part)}." for part in (v.details, v.made) if part
      )
      + (f" Paper: {v.paper}." if v.paper else "")
      for v in section.verdicts
    ),
    section.counts,
  ]
  for table in section.tables:
    parts += [f"## {table.spec.title}", tables.markdown(table)]
  for figure in section.figures:
    parts.append(
      f"![{figure.title}]({figure.key}.svg)\n\n{figure.title}."
      f" {plain_tables.flat(figure.caption)}"
    )
  if section.report.notes:
    parts.append(f"## {section.notes_title}")
    parts.append("\n".join(f"- {note}" for note in section.report.notes))
  if section.damaged:
    parts.append("## Runs that cannot be read")
    parts.append(
      "\n".join(
        f"- {plain_tables.flat(n)}: {plain_tables.flat(w)}"
        for n, w in section.damaged.items()
      )
    )
  parts.append(
    "Made by `python -m rethink.report`; do not edit."
    f" `{section.name}.json` lists the runs behind each number."
  )
  return "\n\n".join(part for part in parts if part) + "\n"


def as_json(section: Section) -> dict[str, Any]:
  """Returns the experiment as JSON values, with the runs behind each number."""
  return {
    "experiment": section.name,
    "title": section.report.title,
    "source": section.report.source,
    "verdicts": [verdict._asdict() for verdict in section.verdicts],
    "counts": section.counts,
    **({"damaged": section.damaged} if section.damaged else {}),
    "notes": list(section.report.notes),
    "tables": tables.as_json(section.tables),
    "figures": [
      {"file": f"{f.key}.svg", "title": f.title, "caption": f.caption}
      for f in section.figures
    ],
  }


def html(sections: Sequence[Section]) -> str:
  """Returns one self-contained HTML page of all experiments."""
  source = importlib.resources.files("rethink.report") / "page.html"
  environment = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined
  )
  template = environment.from_string(source.read_text(encoding="utf-8"))
  shown = [
    {
      **section._asdict(),
      "notes_title": section.notes_title,
      "tables": [_table_context(table) for table in section.tables],
      "figures": [
        {
          "title": figure.title,
          "caption": figure.caption,
          "base64": base64.b64encode(figure.svg.encode()).decode(),
        }
        for figure in section.figures
      ],
      "runs": [_run_cells(name, r) for name, r in section.finished.items()],
    }
    for section in sections
  ]
  return template.render(sections=shown) + "\n"


def _table_context(table: tables.FilledTable) -> dict[str, Any]:
  columns = table.spec.columns
  return {
    "title": table.spec.title,
    "heads": table.spec.heads,
    "columns": [tables.title(column) for column in columns],
    "rows": [
      {
        "heads": row.spec.heads,
        "note": row.note,
        "group": row.group,
        "origin": tables.origin(row.group),
        "cells": [
          {
            "text": results.bounded_text(cell, column.unit),
            "paper": results.paper_text(cell, column.unit),
            "withheld": bool(row.group.reduced),
            "difference": results.difference_text(cell, column.unit),
            "mark": {True: "good", False: "bad", None: ""}[cell.agrees],
          }
          for column, cell in zip(columns, row.cells, strict=True)
        ],
      }
      for row in table.rows
    ],
    "notes": table.notes,
  }


def _run_cells(name: str, record: runs.Record) -> tuple[str, ...]:
  status, config = record.status, record.config
  return (
    name,
    status["updated"][:10],
    tables.commit(record),
    status["versions"]["jax"],
    tables.device(record),
    config["data"]["name"],
    f"{status['data']['train']:,}",
    str(record.rows[-1]["epoch"]),
    f"{status['seconds']:,.0f}",
    tables.learner(config["outcome"]),
    ", ".join(_regularizers(config["outcome"])) or "none",
  )


def _regularizers(outcome: dict[str, Any]) -> list[str]:
  """Returns a run's regularizers; for a linear system, its ridge."""
  if runs.method_name(outcome) == "interpolate":
    return [f"ridge {outcome['ridge']:g}"] if outcome["ridge"] else []
  return outcome["regularizers"]
