"""Reports of networks that are built, and of learners of random signs."""

import pytest

from configs import expressivity, rademacher
from rethink.methods import runner
from rethink.report import measures, pages, results, sources
from tests.conftest import ROOT
from tests.method_train_test import StopAfter


def _section(module, names, root, data_dir):
  stem = module.__name__.rpartition(".")[2]
  for name in names:
    folder = root / stem / "smoke" / name
    config = module.get_config(f"smoke/{name}")
    runner.execute(config, str(folder), data_dir, StopAfter())
  source = sources.from_flag(f"{ROOT}/configs/{stem}.py:smoke")
  return pages.build_section(results.Results(source, root))


def _cells(section, runs):
  (table,) = section.tables
  (line,) = (line for line in table.rows if line.group.name == runs)
  columns = [column.key for column in table.spec.columns]
  return dict(zip(columns, line.cells, strict=True)), table


def test_a_built_network_has_its_row_its_function_and_a_verdict(
  tmp_path, data_dir
):
  names = ["theorem1/random/seed0", "deep10/random/seed0"]
  section = _section(expressivity, names, tmp_path, data_dir)
  cells, _ = _cells(section, "theorem1/random")
  assert cells["weights"].values == (2 * 500 + 49,)
  assert cells["weights"].paper == 2 * 50_000 + 2352
  assert cells["per_point"].values == (1049 / 500,)
  assert (cells["width"].mean, cells["depth"].mean) == (500, 1)
  assert cells["train"].mean == 100 and cells["test"].mean < 30
  assert cells["error"].mean < 1e-9 < cells["lipschitz"].mean
  assert cells["built"].values and cells["certified"].values
  deep, _ = _cells(section, "deep10/random")
  assert (deep["width"].mean, deep["depth"].mean) == (53, 10)
  (verdict,) = (v for v in section.verdicts if v.made)
  assert verdict.answer.startswith(
    "yes, it memorizes random labels: 100.00 % train (chance"
  )
  (figure,) = section.figures
  assert "projection of an image" in figure.svg
  assert "102,352" in pages.markdown(section)


def test_learners_have_a_line_over_n(tmp_path, data_dir):
  names = [f"linear/n{n}/seed0" for n in (500, 1000)]
  section = _section(rademacher, names, tmp_path, data_dir)
  few, _ = _cells(section, "linear/n500")
  many, _ = _cells(section, "linear/n1000")
  assert 0 < many["attained"].mean < few["attained"].mean < 0.5
  assert few["low"].mean < few["attained"].mean < few["high"].mean
  assert few["norm"].values == () and few["parameters"].values == (50,)
  (figure,) = section.figures
  assert "linear classifier" in figure.svg and "1000" in figure.svg


@pytest.mark.parametrize("metric", ["width", "certificate/no_such_number"])
def test_what_status_does_not_say_is_none(metric, tmp_path, data_dir):
  names = ["linear/n500/seed0"]
  _section(rademacher, names, tmp_path, data_dir)
  source = sources.from_flag(f"{ROOT}/configs/rademacher.py:smoke")
  group = results.Results(source, tmp_path).group("linear/n500")
  (record,) = group.records
  column = rademacher.REPORT.tables[0].columns[0]._replace(metric=metric)
  assert measures.status(measures.FinishedRun(record, 0.0), column) is None
