"""Copies of runs that a report can be made of again."""

import json
import pathlib

import pytest

from configs import table1_cifar10
from rethink import errors
from rethink.report import archive, results, sources
from tests import report_runs
from tests.conftest import ROOT, python

_NAME = "mlp_1x512/random/none/seed0"


def _found(root: pathlib.Path) -> list[results.Results]:
  return [results.Results(sources.from_flag(table1_cifar10.__file__), root)]


def _report(runs: pathlib.Path, out: pathlib.Path, *args: str) -> dict:
  """Files that a report writes, by name, without figures."""
  done = python("-m", "rethink.report", f"--runs={runs}", f"--out={out}", *args)
  assert done.returncode == 0 and not done.stderr, done.stderr
  return {
    path.name: path.read_text()
    for path in out.iterdir()
    if path.suffix in (".md", ".csv", ".json")
  }


def test_what_is_kept_makes_the_same_report(tmp_path):
  run = report_runs.write(tmp_path / "runs", table1_cifar10, _NAME)
  run.update(argv=["/home/me/sweep.py", "--config.model=mlp(widths=(512,))"])
  kept = tmp_path / "kept"
  first = _report(tmp_path / "runs", tmp_path / "out", f"--keep={kept}")
  assert "set by hand" in first["table1_cifar10.md"]
  assert _report(kept, tmp_path / "again") == first


def test_nothing_of_the_machine_is_kept(tmp_path):
  run = report_runs.write(tmp_path / "runs", table1_cifar10, _NAME)
  run.update(argv=["/home/me/sweep.py", f"--runs={tmp_path}"])
  (run.workdir / "checkpoints").mkdir()
  assert archive.keep(_found(tmp_path / "runs"), tmp_path / "kept") == 1
  found = tmp_path / "kept" / "table1_cifar10" / _NAME
  assert sorted(path.name for path in found.iterdir()) == [
    "config.json",
    "metrics.jsonl",
    "status.json",
  ]
  for path in found.iterdir():
    assert str(tmp_path) not in path.read_text()
    assert "/home/me" not in path.read_text()


def test_a_run_that_is_kept_again_replaces_the_old_one(tmp_path):
  for test in (0.2, 0.1):
    rows = [report_runs.row(1, test=test)]
    root = tmp_path / str(test)
    report_runs.write(root, table1_cifar10, _NAME, rows)
    archive.keep(_found(root), tmp_path / "kept")
  path = tmp_path / "kept" / "table1_cifar10" / _NAME / "metrics.jsonl"
  assert json.loads(path.read_text())["test/accuracy"] == 0.1


def test_curves_of_an_older_run_are_set_aside(tmp_path):
  for name in ("old", "new"):
    run = report_runs.write(tmp_path / name, table1_cifar10, _NAME)
    run.log_curve(name, x=[1])
    archive.keep(_found(tmp_path / name), tmp_path / "kept")
  curves = tmp_path / "kept" / "table1_cifar10" / _NAME / "curves"
  assert {p.name for p in curves.iterdir()} == {"new.npz", "old.npz.replaced"}


def test_what_is_kept_can_be_kept_elsewhere_but_not_in_its_own_place(tmp_path):
  report_runs.write(tmp_path / "runs", table1_cifar10, _NAME)
  archive.keep(_found(tmp_path / "runs"), tmp_path / "kept")
  assert archive.keep(_found(tmp_path / "kept"), tmp_path / "again") == 1
  with pytest.raises(errors.ConfigError, match="is the folder of --runs"):
    archive.keep(_found(tmp_path / "kept"), tmp_path / "runs" / ".." / "kept")
  assert archive.keep(_found(tmp_path / "kept"), tmp_path / "third") == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  report_runs.write(tmp_path / "runs", table1_cifar10, _NAME)
  (tmp_path / "kept").write_text("")
  with pytest.raises(errors.ConfigError, match=r"--keep=.*kept cannot be"):
    archive.keep(_found(tmp_path / "runs"), tmp_path / "kept")


def test_the_committed_reports_are_those_of_the_committed_runs(tmp_path):
  made = _report(ROOT / "reports" / "runs", tmp_path)
  for name, text in made.items():
    assert (ROOT / "reports" / name).read_text() == text, (
      f"reports/{name} is not what its runs say; make reports"
    )
  page = (ROOT / "reports" / "index.html").read_text()
  assert all(f'id="{name[:-5]}"' in page for name in made if ".json" in name)
