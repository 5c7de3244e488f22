"""Imports go one way; what must stay light or apart does."""

import ast
import graphlib
import pathlib
import re

import pytest

from tests.conftest import ROOT, python

# A package, or a module at the top, may import from tiers above its own and
# from itself. A new component (a model, a loss, ...) has its place already.
TIERS = (
  "bits cpu errors example report_spec",
  "corrupting distributed experiments forward hooks metrics signals specs",
  "corruptions descent expressivity fields kernels losses metric_names models"
  " optimizers regularizers schedules storage",
  "cli console metric_sums pipeline settings",
  "compiled evaluate",
  "train_step",
  "methods",
  "main prepare report sweep",
)
TIER = {name: i for i, row in enumerate(TIERS) for name in row.split()}
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


def _owner(path: pathlib.Path) -> str:
  """The package, or the module at the top, that a file belongs to."""
  return path.relative_to(ROOT / "rethink").with_suffix("").parts[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.name))
def test_imports_go_one_way(path):
  own = _owner(path)
  if own == "__init__":
    assert not _imports(path)
    return
  assert own in TIER, f"{path}: give the top-level module {own!r} a tier"
  for name in _imports(path):
    if name.startswith("rethink."):
      other = name.split(".")[1]
      assert other == own or TIER[other] < TIER[own], f"{path}: {name}"


def test_modules_of_a_package_do_not_import_in_a_circle():
  imports = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
      ".__init__"
    ): _imports(path)
    for path in SOURCES
  }
  order = graphlib.TopologicalSorter(
    {name: found & imports.keys() for name, found in imports.items()}
  )
  order.prepare()  # raises CycleError, naming the modules


def test_the_top_level_stays_small():
  assert len(TIERS) <= 8
  modules = [p for p in SOURCES if p.parent.name == "rethink"]
  assert len(modules) - 1 <= 26  # without __init__


REPORT = [path for path in SOURCES if _owner(path) == "report"]


@pytest.mark.parametrize("path", REPORT, ids=lambda p: p.name)
def test_a_report_sees_only_runs(path):
  seen = {
    "storage.runs",
    "storage.bounds",
    "experiments",
    "errors",
    "console",
    "report",
    "specs",
  }
  if path.name == "__main__.py":
    seen.add("cli")
  for name in _imports(path):
    if name.startswith("rethink."):
      inside = name.removeprefix("rethink.")
      allowed = inside in seen or inside.split(".")[0] in seen
      assert allowed, f"{path}: {name}"
    assert not name.startswith(("jax", "flax", "optax", "orbax")), path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_configs_import_configs_and_experiments_only(path):
  for name in _imports(path):
    allowed = name.startswith(("configs.", "ml_collections", "typing."))
    assert allowed or name == "rethink.experiments", f"{path}: {name}"


def test_only_prepare_may_touch_tensorflow():
  for path in SOURCES:
    if _owner(path) != "prepare":
      roots = {name.split(".")[0] for name in _imports(path)}
      assert "tensorflow" not in roots, path


@pytest.mark.parametrize(
  "module",
  [
    "console",
    "experiments",
    "cli",
    "report.__main__",
    "expressivity.construct",
    "expressivity.rademacher",
  ],
)
def test_what_reads_runs_or_computes_on_the_host_needs_no_jax(module):
  code = f"import sys, rethink.{module}; print('jax' in sys.modules)"
  assert python("-c", code).stdout == "False\n"


@pytest.mark.parametrize("path", SOURCES + CONFIGS, ids=lambda p: p.name)
def test_no_hidden_default_no_stray_flag_no_long_file(path):
  text = path.read_text()
  assert not re.search(r"(config|book)[\w.]*\.get\(", text), path
  if path.name not in ("main.py", "sweep.py", "__main__.py", "cli.py"):
    assert "flags.DEFINE" not in text, path
  assert len(text.splitlines()) <= 300, path
