"""Tables of an experiment, ready to be written as Markdown, CSV, JSON, HTML."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rethink import console, experiments
from rethink.report import results
from rethink.storage import runs

DASH = "—"


class Line(NamedTuple):
  """A row of a table and what is known of its runs.

  Attributes:
    row: as the config has it.
    group: its runs.
    cells: a number for each column.
    note: letter of the footnote, "" for none.
  """

  row: experiments.Row
  group: results.Group
  cells: tuple[results.Cell, ...]
  note: str


class Table(NamedTuple):
  """A table with its numbers.

  Attributes:
    table: as the config has it.
    lines: its rows that are part of the experiment at its scale.
    notes: footnotes by letter.
  """

  table: experiments.Table
  lines: tuple[Line, ...]
  notes: dict[str, str]


def all_of(found: results.Results) -> list[Table]:
  """The tables of an experiment."""
  return [_table(table, found) for table in found.source.report.tables]


def _table(table: experiments.Table, found: results.Results) -> Table:
  letters: dict[str, str] = {}
  lines = []
  for row in table.rows:
    group = found.group(row.runs)
    if not group.expected:
      continue
    cells = tuple(found.cell(row, column) for column in table.columns)
    base = found.group(row.baseline) if row.baseline else None
    note = _note(group, base)
    if note and note not in letters:
      letters[note] = _letter(len(letters))
    lines.append(Line(row, group, cells, letters[note] if note else ""))
  notes = {letter: note for note, letter in letters.items()}
  return Table(table, tuple(lines), notes)


def _note(group: results.Group, base: results.Group | None = None) -> str:
  parts = []
  if group.remark:
    parts.append(group.remark)
  if group.reduced:
    parts.append(
      "not comparable with the paper, so no difference is given: "
      + "; ".join(group.reduced)
    )
  if base and base.reduced and base.reduced != group.reduced:
    parts.append(f"{base.name}, its baseline: " + "; ".join(base.reduced))
  parts += looked_at(group)
  if group.unfinished:
    parts.append("not counted: " + ", ".join(group.unfinished))
  return ". ".join(part[0].upper() + part[1:] for part in parts)


def looked_at(group: results.Group) -> list[str]:
  """What the rows of a group's runs leave out, if anything."""
  parts = []
  outcome = group.records[0].config["outcome"] if group.done else {}
  every = outcome.get("eval_every_epochs", 1)
  if every > 1:
    parts.append(f"evaluated every {every} epochs")
  part = outcome.get("eval_train_examples", 0)
  if part:
    parts.append(f"train accuracy and loss are of {part:,} images")
  return parts


def _letter(i: int) -> str:
  return chr(ord("a") + i) if i < 26 else f"a{i - 25}"


class Made(NamedTuple):
  """How a row's numbers were made, as texts; dashes if there are no runs."""

  runs: str
  data: str
  epochs: str
  device: str
  commit: str


def made(group: results.Group) -> Made:
  """n of expected, data, epochs, device and commit of a group."""
  n = f"{len(group.done)} of {group.expected}"
  if not group.done:
    return Made(n, *[DASH] * 4)

  def each(value) -> str:
    return ", ".join(dict.fromkeys(value(record) for record in group.records))

  epochs = [record.rows[-1]["epoch"] for record in group.records]
  low, high = min(epochs), max(epochs)
  return Made(
    runs=n,
    data=each(
      lambda r: (
        f"{r.config['data']['name']}, {r.status['data']['train']:,} images"
      )
    ),
    epochs=str(low) if low == high else f"{low}–{high}",
    device=each(device),
    commit=each(commit),
  )


def device(record: runs.Record) -> str:
  """What a run was computed on; a CPU by the name of its host."""
  name, n = record.status["device"], record.status["devices"]
  if name == "cpu" and "host" in record.status:
    name = record.status["host"]
  return name + (f" × {n}" if n > 1 else "")


def commit(record: runs.Record) -> str:
  """Seven digits of the commit, with a mark if the code was changed since."""
  dirty = "" if record.status["dirty"] is False else "+"
  return record.status["commit"][:7] + dirty


def learner(outcome: Mapping[str, Any]) -> str:
  """What learned, from the fields of a config: a model, or features, kernel."""
  if "model" in outcome:
    return outcome["model"]
  return ", ".join((*outcome["features"], outcome["kernel"]))


def title(column: experiments.Column) -> str:
  """A column's title with its unit."""
  known = not column.unit or column.unit in column.title
  return column.title if known else f"{column.title} ({column.unit})"


def has_paper(table: Table, column: int) -> bool:
  """Whether the paper has a number of this column."""
  return any(line.cells[column].paper is not None for line in table.lines)


def markdown(table: Table) -> str:
  """The table and its footnotes."""
  columns = table.table.columns
  header = list(table.table.heads)
  for i, column in enumerate(columns):
    header.append(title(column))
    if has_paper(table, i):
      header += ["paper", "difference"]
  header += ["runs", "data", "epochs", "device", "commit", "note"]
  rows = []
  for line in table.lines:
    cells = list(line.row.heads)
    for i, column in enumerate(columns):
      cell = line.cells[i]
      cells.append(results.text(cell, column.unit))
      if has_paper(table, i):
        cells.append(results.paper_text(cell, column.unit))
        cells.append(results.difference_text(cell, column.unit))
    rows.append([*cells, *made(line.group), line.note])
  notes = "".join(f"\n\n[{k}] {note}." for k, note in table.notes.items())
  return console.table(header, rows) + notes


_CSV = (
  *("experiment", "table", "row", "runs", "column", "unit"),
  *("mean", "std", "n", "never", "expected", "paper", "difference", "agrees"),
  *("reduced", "remark", "data", "epochs", "device", "commit"),
)


def csv_text(name: str, tables: Sequence[Table]) -> str:
  """All numbers of an experiment, one a line."""
  content = io.StringIO()
  out = csv.writer(content, lineterminator="\n")
  out.writerow(_CSV)
  for table in tables:
    for line in table.lines:
      group = line.group
      _, *how = made(group)
      for column, cell in zip(table.table.columns, line.cells, strict=True):
        out.writerow(
          (
            *(name, table.table.key, " | ".join(line.row.heads), group.name),
            *(column.key, column.unit),
            *(_number(cell.mean) if cell.values else "", _number(cell.std)),
            *(len(cell.values), cell.never, group.expected),
            *(cell.paper, _number(cell.difference), cell.agrees),
            *("; ".join(group.reduced), group.remark, *how),
          )
        )
  return content.getvalue()


def as_json(tables: Sequence[Table]) -> list[dict[str, Any]]:
  """The tables as JSON values, each row with the runs that made it."""
  return [
    {
      "key": table.table.key,
      "title": table.table.title,
      "rows": [_row_json(table, line) for line in table.lines],
    }
    for table in tables
  ]


def _row_json(table: Table, line: Line) -> dict[str, Any]:
  return {
    "heads": dict(zip(table.table.heads, line.row.heads, strict=True)),
    "cells": {
      column.key: {
        "unit": column.unit,
        "values": [_number(value) for value in cell.values],
        "mean": _number(cell.mean) if cell.values else None,
        "std": _number(cell.std),
        "n": len(cell.values),
        "never": cell.never,
        "paper": cell.paper,
        "difference": _number(cell.difference),
        "agrees": cell.agrees,
      }
      for column, cell in zip(table.table.columns, line.cells, strict=True)
    },
    **provenance(line.group),
  }


def provenance(group: results.Group) -> dict[str, Any]:
  """Which runs a group is, with which code, data and device; JSON values."""
  return {
    "runs": group.name,
    "expected": group.expected,
    "missing": group.missing,
    "unfinished": list(group.unfinished),
    "reduced": list(group.reduced),
    "remark": group.remark,
    "fit_threshold": group.threshold,
    "done": {
      seed: {
        "commit": record.status["commit"],
        "dirty": record.status["dirty"],
        "versions": record.status["versions"],
        "device": record.status["device"],
        "devices": record.status["devices"],
        "seconds": record.status["seconds"],
        "date": record.status["updated"][:10],
        "parameters": record.status["parameters"],
        "epochs": record.rows[-1]["epoch"],
        "images": record.status["data"],
        "data": record.config["data"],
        "fingerprint": record.config["fingerprint"],
        "config": record.config["outcome"],
      }
      for seed, record in group.done.items()
    },
  }


def _number(value: float | None) -> float | None:
  return None if value is None else float(f"{value:.9g}")
