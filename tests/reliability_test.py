"""docs/reliability.md names tests that exist, and the exit codes there are."""

import re

from rethink import errors
from tests.conftest import ROOT

_TEXT = (ROOT / "docs/reliability.md").read_text()


def test_every_test_in_the_table_exists():
  sources = "".join(p.read_text() for p in (ROOT / "tests").glob("*_test.py"))
  rows = [
    line for line in _TEXT.splitlines() if re.match(r"\| [A-Z]\d+ ", line)
  ]
  assert len(rows) >= 20
  for row in rows:
    names = re.findall(r"`(test_\w+)`", row)
    assert names, row
    for name in names:
      assert f"def {name}(" in sources, name


def test_every_test_that_is_named_anywhere_exists():
  sources = "".join(p.read_text() for p in (ROOT / "tests").glob("*_test.py"))
  fields = {"test_overlap"}  # of status.json
  for name in {*re.findall(r"`(test_\w+)`", _TEXT)} - fields:
    assert f"def {name}(" in sources, name


def test_every_numbered_test_is_in_the_table_or_beside_one_that_is():
  for path in (ROOT / "tests").glob("*_test.py"):
    for number in re.findall(r"^def test_f(\d+)_", path.read_text(), re.M):
      assert f"| F{number} |" in _TEXT, path


def test_exit_codes_are_documented():
  for kind in vars(errors).values():
    if isinstance(kind, type) and issubclass(kind, errors.RethinkError):
      assert f"\n| {kind.exit_code} | " in _TEXT, kind
