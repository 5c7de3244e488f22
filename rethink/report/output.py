"""Writes a report's files, and never one that knows less than what is there."""

import contextlib
import html.parser
import json
import os
import pathlib
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from rethink import errors

_PAGE, _TITLE = "index.html", "rethink: report"


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the path of a file that replaces another one in the end.

  Raises:
    OSError: if it cannot be written; what was there is then still there.
  """
  partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
  try:
    yield partial
    os.replace(partial, path)
  finally:
    partial.unlink(missing_ok=True)


def write(path: pathlib.Path, content: str | bytes) -> None:
  """Replaces a file, completely or not at all; text is UTF-8."""
  data = content.encode() if isinstance(content, str) else content
  with replacing(path) as partial:
    partial.write_bytes(data)


def check(
  folder: pathlib.Path, new: Mapping[str, set[str]], replace: bool
) -> None:
  """Refuses to write into a folder whose report shows more runs.

  Args:
    folder: where the report is to be written.
    new: for each experiment of the report, the names of its finished runs.
    replace: whether a report of ours may be replaced by one with fewer runs.

  Raises:
    ConfigError: naming runs that would be lost, or the file of somebody else.
  """
  lost = []
  for name, known in known_runs(folder, new).items():
    missing = sorted(known - new[name]) if name in new else sorted(known)
    lost += [f"{name}/{run}" for run in missing]
  if lost and not replace:
    raise errors.ConfigError(
      f"--out={folder} holds a report of {len(lost)} runs that this one lacks,"
      f" such as {lost[0]}; give another --out, or --replace"
    )


def known_runs(
  folder: pathlib.Path, names: Mapping[str, Any]
) -> dict[str, set[str]]:
  """Returns the finished runs that a folder's page and JSON files show.

  Args:
    folder: of a report; there may be none.
    names: of experiments, whose JSON files are read.

  Raises:
    ConfigError: if a file of these names is not of a report.
  """
  known: dict[str, set[str]] = {}
  page = folder / _PAGE
  if page.exists():
    reader = _Page(_text(page))
    if reader.title != _TITLE:
      raise _foreign(page)
    known = reader.runs
  for name in names:
    path = folder / f"{name}.json"
    if path.exists():
      known.setdefault(name, set()).update(_runs_of_json(path, name))
  return known


def _text(path: pathlib.Path) -> str:
  try:
    return path.read_text(encoding="utf-8")
  except (OSError, UnicodeDecodeError):
    raise _foreign(path) from None


def _runs_of_json(path: pathlib.Path, name: str) -> set[str]:
  try:
    content = json.loads(_text(path))
    if content["experiment"] != name:
      raise _foreign(path)
    return {
      f"{row['runs']}/{seed}"
      for table in content["tables"]
      for row in table["rows"]
      for seed in row["done"]
    }
  except (ValueError, KeyError, TypeError, RecursionError):
    raise _foreign(path) from None


def _foreign(path: pathlib.Path) -> errors.ConfigError:
  return errors.ConfigError(
    f"{path} is not of a report, and would be replaced; give another --out"
  )


class _Page(html.parser.HTMLParser):
  """Reads title, sections and the lists of finished runs off a page."""

  def __init__(self, text: str):
    super().__init__()
    self.title = ""
    self.runs: dict[str, set[str]] = {}
    self._section, self._inside, self._cells = "", "", 0
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    if tag == "section":
      self._section = dict(attrs).get("id") or ""
      self.runs[self._section] = set()
    if tag == "details" or (tag == "title" and not self.title):
      self._inside = tag
    if tag == "tr":
      self._cells = 0
    if tag == "td":
      self._cells += 1

  def handle_endtag(self, tag):
    if tag == self._inside:
      self._inside = ""

  def handle_data(self, data):
    if self._inside == "title":
      self.title += data
    if self._inside == "details" and self._cells == 1 and data.strip():
      self.runs[self._section].add(data.strip())
