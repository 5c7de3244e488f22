"""An experiment as files: Markdown, CSV, JSON, figures; one page of all."""

import base64
import importlib.resources
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2

from rethink import errors, experiments
from rethink.report import figures, results, tables, verdicts
from rethink.storage import runs


class Section(NamedTuple):
  """All that is shown of one experiment.

  Attributes:
    name: of its files.
    smoke: whether it is the small variant.
    report: as the config has it.
    verdicts: answers in words.
    tables: with their numbers.
    figures: drawn.
    finished: name to record of each run that is done, in a table or not.
    counts: how many runs and agreements there are, in words.
  """

  name: str
  smoke: bool
  report: experiments.Report
  verdicts: list[verdicts.Verdict]
  tables: list[tables.Table]
  figures: list[figures.Figure]
  finished: dict[str, runs.Record]
  counts: str

  @property
  def notes_title(self) -> str:
    """What the notes are about."""
    if self.report.source:
      return "What the paper leaves open, and what is done here"
    return "How to read it"


def section(found: results.Results) -> Section:
  """Reads the runs of an experiment and makes everything of them.

  Raises:
    ConfigError: naming a run directory that cannot be understood.
  """
  made = tables.all_of(found)
  finished = {}
  for name in found.source.groups:
    done = found.group(name).done
    finished |= {f"{name}/{seed}": record for seed, record in done.items()}
  return Section(
    name=found.source.name,
    smoke=found.source.smoke,
    report=found.source.report,
    verdicts=verdicts.all_of(found),
    tables=made,
    figures=figures.all_of(found),
    finished=finished,
    counts=_counts(made),
  )


def _counts(made: Sequence[tables.Table]) -> str:
  lines = [line for table in made for line in table.lines]
  groups = {line.group.name: line.group for line in lines}.values()
  done = sum(len(group.done) for group in groups)
  text = f"{done} of {sum(group.expected for group in groups)} runs are done."
  cells = [cell for line in lines for cell in line.cells]
  judged = [cell for cell in cells if cell.agrees is not None]
  if judged:
    agree = sum(bool(cell.agrees) for cell in judged)
    text += (
      f" {agree} of {len(judged)} judged numbers lie within the tolerance"
      " around the paper's."
    )
  return text


def write(sections: Sequence[Section], out: pathlib.Path) -> None:
  """Writes all files of all experiments.

  Raises:
    ConfigError: if the folder cannot be written.
  """
  try:
    out.mkdir(parents=True, exist_ok=True)
    for one in sections:
      for figure in one.figures:
        (out / f"{figure.key}.svg").write_text(figure.svg)
        (out / f"{figure.key}.png").write_bytes(figure.png)
      (out / f"{one.name}.md").write_text(markdown(one))
      (out / f"{one.name}.csv").write_text(
        tables.csv_text(one.name, one.tables)
      )
      text = json.dumps(as_json(one), indent=1, ensure_ascii=False)
      (out / f"{one.name}.json").write_text(text + "\n")
    (out / "index.html").write_text(html(sections))
  except OSError as error:
    raise errors.ConfigError(
      f"--out={out} cannot be written: {error.strerror}"
    ) from None


def markdown(one: Section) -> str:
  """The experiment for people who read it in a repository."""
  title = f"{one.report.source or 'Own data'}: {one.report.title}"
  parts = [
    f"# {title}" + (" (small variant)" if one.smoke else ""),
    one.report.question,
    "\n".join(
      f"- **{v.subject}:** {v.answer}."
      + "".join(f" {part}." for part in (v.details, v.made) if part)
      + (f" Paper: {v.paper}." if v.paper else "")
      for v in one.verdicts
    ),
    one.counts,
  ]
  for table in one.tables:
    parts += [f"## {table.table.title}", tables.markdown(table)]
  for figure in one.figures:
    parts.append(
      f"![{figure.title}]({figure.key}.svg)\n\n{figure.title}. {figure.caption}"
    )
  if one.report.notes:
    parts.append(f"## {one.notes_title}")
    parts.append("\n".join(f"- {note}" for note in one.report.notes))
  parts.append(
    "Made by `python -m rethink.report`; do not edit. Where each number comes"
    f" from stands in `{one.name}.json`."
  )
  return "\n\n".join(part for part in parts if part) + "\n"


def as_json(one: Section) -> dict[str, Any]:
  """The experiment for programs, with the runs behind every number."""
  return {
    "experiment": one.name,
    "title": one.report.title,
    "source": one.report.source,
    "verdicts": [verdict._asdict() for verdict in one.verdicts],
    "counts": one.counts,
    "notes": list(one.report.notes),
    "tables": tables.as_json(one.tables),
    "figures": [
      {"file": f"{f.key}.svg", "title": f.title, "caption": f.caption}
      for f in one.figures
    ],
  }


def html(sections: Sequence[Section]) -> str:
  """One page of all experiments; needs no network and no script."""
  source = importlib.resources.files("rethink.report") / "page.html"
  environment = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined
  )
  template = environment.from_string(source.read_text())
  shown = [
    {
      **one._asdict(),
      "notes_title": one.notes_title,
      "tables": [_table(table) for table in one.tables],
      "figures": [
        {
          "title": figure.title,
          "caption": figure.caption,
          "base64": base64.b64encode(figure.svg.encode()).decode(),
        }
        for figure in one.figures
      ],
      "runs": [_run(name, r) for name, r in one.finished.items()],
    }
    for one in sections
  ]
  return template.render(sections=shown) + "\n"


def _table(table: tables.Table) -> dict[str, Any]:
  columns = table.table.columns
  return {
    "title": table.table.title,
    "heads": table.table.heads,
    "columns": [tables.title(column) for column in columns],
    "lines": [
      {
        "heads": line.row.heads,
        "note": line.note,
        "group": line.group,
        "made": tables.made(line.group),
        "cells": [
          {
            "text": results.text(cell, column.unit),
            "paper": results.paper_text(cell, column.unit),
            "withheld": bool(line.group.reduced),
            "difference": results.difference_text(cell, column.unit),
            "mark": {True: "good", False: "bad", None: ""}[cell.agrees],
          }
          for column, cell in zip(columns, line.cells, strict=True)
        ],
      }
      for line in table.lines
    ],
    "notes": table.notes,
  }


def _run(name: str, record: runs.Record) -> tuple[str, ...]:
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
  """Of a trained model; the ridge of one that solves a linear system."""
  if "regularizers" in outcome:
    return outcome["regularizers"]
  return [f"ridge {outcome['ridge']:g}"] if outcome["ridge"] else []
