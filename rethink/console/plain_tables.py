"""Tables in Markdown, for terminals, files and reports."""

import itertools
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence


def flat(text: str) -> str:
  """Returns text for Markdown on one line, in which no markup begins."""
  return " ".join(text.split()).replace("<", r"\<")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Returns a Markdown table whose columns also line up as plain text.

  Line breaks in a cell become spaces, and bars and "<" are escaped.
  """
  header, *rows = (
    [flat(cell).replace("|", r"\|") for cell in row] for row in (header, *rows)
  )
  widths = [
    max(len(cell) for cell in column)
    for column in zip(header, *rows, strict=True)
  ]

  def one(cells):
    padded = (
      cell.ljust(width) for cell, width in zip(cells, widths, strict=True)
    )
    return f"| {' | '.join(padded)} |"

  rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
  return "\n".join([one(header), rule, *map(one, rows)])


def fitted(text: str, columns: int = 0) -> str:
  """Returns a table whose heads are broken into lines if it is too wide.

  Args:
    text: a Markdown table as `table` makes it.
    columns: width; 0 is that of the terminal, and no limit without one.
  """
  if not columns:
    terminal = sys.stdout is not None and sys.stdout.isatty()
    columns = shutil.get_terminal_size().columns if terminal else len(text)
  rows = text.splitlines()
  if len(rows[0]) <= columns:
    return text
  header, _, *body = [
    [
      re.sub(r"\\([|<])", r"\1", cell.strip())
      for cell in re.split(r"(?<!\\)\|", row)[1:-1]
    ]
    for row in rows
  ]
  widths = [
    max([*map(len, head.split()), *(len(row[i]) for row in body)])
    for i, head in enumerate(header)
  ]
  heads = [
    textwrap.wrap(head, width) or [""]
    for head, width in zip(header, widths, strict=True)
  ]
  lines = itertools.zip_longest(*heads, fillvalue="")
  first, *others = [list(line) for line in lines]
  top, rule, *rest = table(first, [*others, *body]).splitlines()
  return "\n".join([top, *rest[: len(others)], rule, *rest[len(others) :]])
