"""Fills an experiment's tables and writes them as Markdown and JSON."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rethink import experiments
from rethink.console import plain_tables
from rethink.report import comparability, groups, results
from rethink.storage import runs

DASH = "—"


class FilledRow(NamedTuple):
  """A row of a table with its numbers.

  Attributes:
    spec: the row as the config declares it.
    group: the runs of the row.
    cells: one cell per column.
    note: letter of the footnote, "" for none.
  """

  spec: experiments.Row
  group: groups.Group
  cells: tuple[results.Cell, ...]
  note: str


class FilledTable(NamedTuple):
  """A table with its numbers.

  Attributes:
    spec: the table as the config declares it.
    rows: the rows whose runs exist in this variant (full size or small).
    notes: letter to footnote.
  """

  spec: experiments.Table
  rows: tuple[FilledRow, ...]
  notes: dict[str, str]


def all_of(experiment: results.Results) -> list[FilledTable]:
  """Returns the tables of an experiment, filled with numbers."""
  return [
    _table(table, experiment) for table in experiment.source.report.tables
  ]


def _table(
  table: experiments.Table, experiment: results.Results
) -> FilledTable:
  letters: dict[str, str] = {}
  filled_rows = []
  for row in table.rows:
    group = experiment.group(row.runs)
    if not group.expected:
      continue
    cells = tuple(experiment.cell(row, column) for column in table.columns)
    base = experiment.group(row.baseline) if row.baseline else None
    note = _note(group, base)
    if note and note not in letters:
      letters[note] = _letter(len(letters))
    filled_rows.append(
      FilledRow(row, group, cells, letters[note] if note else "")
    )
  notes = {letter: note for note, letter in letters.items()}
  return FilledTable(table, tuple(filled_rows), notes)


def _note(group: groups.Group, base: groups.Group | None = None) -> str:
  parts = []
  if group.remark:
    parts.append(group.remark)
  if group.reduced:
    parts.append(
      "not comparable with the paper, so no difference is shown: "
      + "; ".join(group.reduced)
    )
  if base and base.reduced and base.reduced != group.reduced:
    parts.append(f"its baseline {base.name}: " + "; ".join(base.reduced))
  parts += limits(group)
  if group.unfinished:
    parts.append("not counted: " + ", ".join(group.unfinished))
  return ". ".join(part[0].upper() + part[1:] for part in parts)


def limits(group: groups.Group) -> list[str]:
  """Returns what limits a group's numbers: its evaluations and its data."""
  parts = []
  outcome = group.records[0].config["outcome"] if group.done else {}
  every = outcome.get("eval_every_epochs", 1)
  if every > 1:
    parts.append(f"evaluated every {every} epochs")
  part = outcome.get("eval_train_examples", 0)
  if part:
    parts.append(f"train accuracy and loss are measured on {part:,} images")
  remarks = (comparability.data_remarks(record) for record in group.records)
  return [*parts, *dict.fromkeys(itertools.chain.from_iterable(remarks))]


def _letter(i: int) -> str:
  return chr(ord("a") + i) if i < 26 else f"a{i - 25}"


class Origin(NamedTuple):
  """The origin of a row's numbers, as texts; dashes if there are no runs."""

  runs: str
  data: str
  epochs: str
  device: str
  commit: str


def origin(group: groups.Group) -> Origin:
  """Summarizes runs, data, epochs, devices and commits of a group."""
  n = f"{len(group.done)} of {group.expected}"
  if not group.done:
    return Origin(n, *[DASH] * 4)

  def each(value) -> str:
    return ", ".join(dict.fromkeys(value(record) for record in group.records))

  epochs = [record.rows[-1]["epoch"] for record in group.records]
  low, high = min(epochs), max(epochs)
  return Origin(
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
  """Returns the device of a run; for a CPU, the name of its processor."""
  name, n = record.status["device"], record.status["devices"]
  if name == "cpu" and "host" in record.status:
    name = record.status["host"]
  return name + (f" × {n}" if n > 1 else "")


def commit(record: runs.Record) -> str:
  """Returns the short commit, with "+" if the code had uncommitted changes."""
  dirty = "" if record.status["dirty"] is False else "+"
  return record.status["commit"][:7] + dirty


def learner(outcome: Mapping[str, Any]) -> str:
  """Returns the model of a config, or what its method has in place of one."""
  method = runs.method_name(outcome)
  if method == "interpolate":
    return ", ".join((*outcome["features"], outcome["kernel"]))
  if method == "train":
    return outcome["model"]
  trained = "network(" in outcome["method"]  # by complexity()
  return outcome["method"] + (f", {outcome['model']}" if trained else "")


def title(column: experiments.Column) -> str:
  """Returns a column's title with its unit."""
  known = not column.unit or column.unit in column.title
  return column.title if known else f"{column.title} ({column.unit})"


def has_paper(table: FilledTable, column: int) -> bool:
  """Returns whether the paper has a number in this column."""
  return any(row.cells[column].paper is not None for row in table.rows)


def markdown(table: FilledTable) -> str:
  """Returns the table and its footnotes as Markdown."""
  columns = table.spec.columns
  header = list(table.spec.heads)
  for i, column in enumerate(columns):
    header.append(title(column))
    if has_paper(table, i):
      header += ["paper", "difference"]
  header += ["runs", "data", "epochs", "device", "commit", "note"]
  rows = []
  for row in table.rows:
    cells = list(row.spec.heads)
    for i, column in enumerate(columns):
      cell = row.cells[i]
      cells.append(results.bounded_text(cell, column.unit))
      if has_paper(table, i):
        cells.append(results.paper_text(cell, column.unit))
        cells.append(results.difference_text(cell, column.unit))
    rows.append([*cells, *origin(row.group), row.note])
  notes = "".join(
    f"\n\n[{k}] {plain_tables.flat(note)}." for k, note in table.notes.items()
  )
  return plain_tables.table(header, rows) + notes


def as_json(tables: Sequence[FilledTable]) -> list[dict[str, Any]]:
  """Returns the tables as JSON values, each row with the runs behind it."""
  return [
    {
      "key": table.spec.key,
      "title": table.spec.title,
      "rows": [_row_json(table, row) for row in table.rows],
    }
    for table in tables
  ]


def _row_json(table: FilledTable, row: FilledRow) -> dict[str, Any]:
  return {
    "heads": dict(zip(table.spec.heads, row.spec.heads, strict=True)),
    "cells": {
      column.key: {
        "unit": column.unit,
        "values": [number(value) for value in cell.values],
        "mean": number(cell.mean) if cell.values else None,
        "std": number(cell.std),
        "n": len(cell.values),
        "never": cell.never,
        "paper": cell.paper,
        "difference": number(cell.difference),
        "agrees": cell.agrees,
        **({} if cell.ceiling is None else {"ceiling": number(cell.ceiling)}),
      }
      for column, cell in zip(table.spec.columns, row.cells, strict=True)
    },
    **_runs_json(row.group),
  }


def _runs_json(group: groups.Group) -> dict[str, Any]:
  """Returns the runs of a group with their code, data and device."""
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


def number(value: float | None) -> float | None:
  """Rounds a number to what files keep of it; None stays None."""
  return None if value is None else float(f"{value:.9g}")
