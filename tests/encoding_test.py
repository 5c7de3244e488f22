"""Text is read and written in UTF-8, whatever the locale is."""

import ast
import pathlib

import pytest

from tests.conftest import ROOT

_TEXT = {"read_text", "write_text"}
_OPEN = {"open", "fdopen"}


def _unnamed(source: str) -> list[int]:
  """The lines of calls that take their encoding from the locale."""
  found = []
  for call in ast.walk(ast.parse(source)):
    if not isinstance(call, ast.Call):
      continue
    named = {one.arg: one.value for one in call.keywords}
    function = call.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    bare = isinstance(function, ast.Name)  # open(file, mode)
    first = function.value if isinstance(function, ast.Attribute) else None
    owner = first.id if isinstance(first, ast.Name) else ""
    others = ("tarfile", "Image", "gzip", "os")  # os.open knows no text
    if name in _OPEN and (bare or owner not in others):
      if isinstance(first, ast.Attribute) and first.attr == "Image":
        continue  # PIL.Image.open
      modes = call.args[1:2] if bare or owner == "io" else call.args[:1]
      mode = named["mode"] if "mode" in named else (modes or [None])[0]
      text = ast.unparse(mode) if mode else "r"
      if "b" not in text and "encoding" not in named:
        found.append(call.lineno)
    if name in _TEXT and "encoding" not in named:
      found.append(call.lineno)
    if {"text", "universal_newlines"} & named.keys() - {"encoding"}:
      if "encoding" not in named:
        found.append(call.lineno)
  return found


@pytest.mark.parametrize(
  ("source", "wrong"),
  [
    ("p.read_text()", True),
    ("p.read_text(encoding='utf-8')", False),
    ("p.write_text(x)", True),
    ("open(f)", True),
    ("open(f, 'a')", True),
    ("open(f, 'rb')", False),
    ("p.open('w', newline='')", True),
    ("p.open(mode='wb')", False),
    ("p.open('r+b' if done else 'wb')", False),
    ("open(f, 'w', encoding='utf-8')", False),
    ("subprocess.run(a, text=True)", True),
    ("PIL.Image.open(f)", False),
    ("tarfile.open(f)", False),
  ],
)
def test_the_check_sees_what_the_locale_decides(source, wrong):
  assert bool(_unnamed(source)) == wrong


def test_the_encoding_is_named_wherever_text_is_read_or_written():
  wrong = [
    f"{path.relative_to(ROOT)}:{line}"
    for folder in ("rethink", "configs", "launch", "docs")
    for path in sorted(pathlib.Path(ROOT / folder).rglob("*.py"))
    for line in _unnamed(path.read_text(encoding="utf-8"))
  ]
  assert not wrong, f"name encoding='utf-8': {', '.join(wrong)}"
