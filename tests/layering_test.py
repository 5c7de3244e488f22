"""Imports go one way; what must stay light or apart does."""

import ast
import pathlib
import re

import pytest

from tests.conftest import ROOT, python

# A module may import modules of rows above its own, and of its own package.
LAYERS = (
  "errors bits example provenance allocator convolutions pooling",
  "norms plots signals",
  "specs files retries locks",
  "leases",
  "storage",
  "hosts",
  "experiments metrics optimizers schedules expressivity complexity kernels",
  "corruptions regularizers models records runs",
  "settings console sinks manifests datasets selection",
  "pipeline checkpoints",
  "evaluate recipes summary programs",
  "train",
  "passes",
  "loop construction interpolation learners",
  "rademacher",
  "methods",
  "entry",
  "main sweep prepare report",
)
LEVEL = {name: i for i, row in enumerate(LAYERS) for name in row.split()}
SOURCES = sorted((ROOT / "rethink").rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


def _imports(path: pathlib.Path) -> set[str]:
  """Full names of all modules imported anywhere in a file."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  return found


def _room(path: pathlib.Path) -> str:
  return path.relative_to(ROOT / "rethink").with_suffix("").parts[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.name))
def test_imports_go_one_way(path):
  room = _room(path)
  if room == "__init__":
    assert not _imports(path)
    return
  assert room in LEVEL, f"{path}: give the module {room!r} a place in LAYERS"
  for name in _imports(path):
    if name.startswith("rethink."):
      other = name.split(".")[1]
      assert other == room or LEVEL[other] < LEVEL[room], f"{path}: {name}"


REPORT = [path for path in SOURCES if _room(path) == "report"]


@pytest.mark.parametrize("path", REPORT, ids=lambda p: p.name)
def test_a_report_sees_only_runs(path):
  seen = {"runs", "experiments", "errors", "console", "report"}
  if path.name == "__main__.py":
    seen.add("entry")
  for name in _imports(path):
    if name.startswith("rethink."):
      assert name.split(".")[1] in seen, f"{path}: {name}"
    assert not name.startswith(("jax", "flax", "optax", "orbax")), path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_configs_import_configs_and_experiments_only(path):
  for name in _imports(path):
    allowed = name.startswith(("configs.", "ml_collections", "typing."))
    assert allowed or name == "rethink.experiments", f"{path}: {name}"


def test_only_prepare_may_touch_tensorflow():
  for path in SOURCES:
    if _room(path) != "prepare":
      roots = {name.split(".")[0] for name in _imports(path)}
      assert "tensorflow" not in roots, path


@pytest.mark.parametrize(
  "module",
  [
    "summary",
    "experiments",
    "entry",
    "report.__main__",
    "expressivity.construct",
    "complexity",
  ],
)
def test_what_reads_runs_or_computes_on_the_host_needs_no_jax(module):
  code = f"import sys, rethink.{module}; print('jax' in sys.modules)"
  assert python("-c", code).stdout == "False\n"


@pytest.mark.parametrize("path", SOURCES + CONFIGS, ids=lambda p: p.name)
def test_no_hidden_default_no_stray_flag_no_long_file(path):
  text = path.read_text()
  assert not re.search(r"(config|book)[\w.]*\.get\(", text), path
  if path.name not in ("main.py", "sweep.py", "__main__.py", "entry.py"):
    assert "flags.DEFINE" not in text, path
  assert len(text.splitlines()) <= 300, path
