"""Configs ask a report for runs that exist and for the paper's numbers."""

import importlib
import re

import pytest

from configs import table1_cifar10
from rethink import experiments
from rethink.report import sources
from tests.conftest import ROOT

REPORTED = {
  path.stem: importlib.import_module(f"configs.{path.stem}")
  for path in sorted((ROOT / "configs").glob("[a-z]*.py"))
  if "REPORT" in path.read_text()
}


@pytest.mark.parametrize("name", REPORTED)
def test_every_row_line_and_verdict_names_runs_that_exist(name):
  report = REPORTED[name].REPORT
  known = {run.rpartition("/")[0] for run in REPORTED[name].RUNS}
  named = {row.runs for table in report.tables for row in table.rows}
  named |= {row.baseline for t in report.tables for row in t.rows}
  for figure in report.figures:
    if isinstance(figure, experiments.Curves):
      named |= {line.runs for line in figure.lines}
    elif isinstance(figure, experiments.Profile):
      named |= {trace.runs for trace in figure.traces}
    elif isinstance(figure, experiments.Examples):
      named |= {name for _, name in figure.series}
    else:
      (table,) = (t for t in report.tables if t.key == figure.table)
      drawn = {name for s in figure.series for _, name in s.points}
      assert drawn <= {row.runs for row in table.rows}
      assert figure.column in {column.key for column in table.columns}
  for verdict in report.verdicts:
    if isinstance(verdict, experiments.EarlyStopping):
      named.add(verdict.runs)
    elif isinstance(verdict, experiments.Overall):
      assert set(verdict.of) <= set(report.verdicts)
    else:
      named |= {verdict.true, verdict.random, verdict.noise}
  assert named - {""} <= known


@pytest.mark.parametrize("name", REPORTED)
def test_every_number_of_the_paper_stands_under_a_column(name):
  for table in REPORTED[name].REPORT.tables:
    columns = {column.key for column in table.columns}
    assert len(columns) == len(table.columns)
    for one in table.rows:
      assert set(one.paper) <= columns
      assert len(one.heads) == len(table.heads)
      assert all(value != "" for value in one.paper.values())


@pytest.mark.parametrize("name", REPORTED)
def test_every_experiment_has_small_variants_of_its_own_runs(name):
  known = REPORTED[name].RUNS
  small = [run for run in known if run.startswith(experiments.SMOKE)]
  assert small
  for run in small:
    assert run.removeprefix(experiments.SMOKE) in known
    assert REPORTED[name].get_config(run).dataset == "digits"


def test_table_1_has_19_rows_with_both_numbers_of_the_paper():
  (table,) = table1_cifar10.REPORT.tables
  assert len(table.rows) == 19
  assert all(set(one.paper) == {"train", "test"} for one in table.rows)
  assert sum(one.paper["test"] for one in table.rows) == pytest.approx(
    89.05 + 89.31 + 86.03 + 85.75 + 9.78 + 83 + 82 + 10.12 + 81.22 + 79.66
    + 77.36 + 76.07 + 9.86 + 53.35 + 52.39 + 10.48 + 50.39 + 50.51 + 10.61
  )  # fmt: skip


def test_another_network_needs_one_line_in_table_1(tmp_path):
  path = ROOT / "configs" / "table1_cifar10.py"
  line = re.search(r"^MODELS = .*$", (ROOT / "README.md").read_text(), re.M)[0]
  text = path.read_text().replace("MODELS = cifar10.MODELS", line)
  assert line in text
  own = tmp_path / path.name
  own.write_text(text)
  source = sources.from_flag(str(own))
  (table,) = source.report.tables
  assert [row.heads for row in table.rows] == [
    ("mine", "yes", "yes", "true"),
    ("mine", "yes", "no", "true"),
    ("mine", "no", "yes", "true"),
    ("mine", "no", "no", "true"),
    ("mine", "no", "no", "random"),
  ]
  assert not any(row.paper or row.parameters for row in table.rows)
  assert all(f"{row.runs}/seed0" in source.runs for row in table.rows)
