"""Writes CSV files that a spreadsheet shows and never computes."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rethink.report import tables

# A spreadsheet takes a text that begins like this for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\n")


def rows_text(rows: Iterable[Sequence[Any]]) -> str:
  """Returns rows as CSV; see `write_rows`."""
  content = io.StringIO()
  write_rows(content, rows)
  return content.getvalue()


def write_rows(file: TextIO, rows: Iterable[Sequence[Any]]) -> int:
  """Writes rows as CSV and returns their number.

  Numbers stay numbers. A text that a spreadsheet would compute gets an
  apostrophe in front, and so stays a text.
  """
  out, written = csv.writer(file, lineterminator="\n"), 0
  for row in rows:
    out.writerow([_cell(value) for value in row])
    written += 1
  return written


def _cell(value: Any) -> Any:
  if not isinstance(value, str):
    return value
  text = value.replace("\r\n", "\n").replace("\r", "\n")  # "\r" stays bare
  return f"'{text}" if text.startswith(_FORMULAS) else text


_CSV = (
  *("experiment", "table", "row", "runs", "column", "unit"),
  *("mean", "std", "n", "never", "expected", "paper", "difference", "agrees"),
  *("reduced", "remark", "data", "epochs", "device", "commit"),
)


def csv_text(name: str, filled: Sequence[tables.FilledTable]) -> str:
  """Returns all numbers of an experiment as CSV, one per line."""
  lines: list[Sequence[Any]] = [_CSV]
  for table in filled:
    for row in table.rows:
      group = row.group
      _, *how = tables.origin(group)
      for column, cell in zip(table.spec.columns, row.cells, strict=True):
        lines.append(
          (
            *(name, table.spec.key, " | ".join(row.spec.heads), group.name),
            *(column.key, column.unit),
            *(
              tables.number(cell.mean) if cell.values else "",
              tables.number(cell.std),
            ),
            *(len(cell.values), cell.never, group.expected),
            *(cell.paper, tables.number(cell.difference), cell.agrees),
            *("; ".join(group.reduced), group.remark, *how),
          )
        )
  return rows_text(lines)
