"""Numbers of a report: cells, what is missing, what is not comparable."""

import csv
import io
import json
import pathlib

import numpy as np
import pytest

from configs import fig1_randomization, fig2_implicit, memorize, table1_cifar10
from rethink import errors, experiments
from rethink.report import (
  comparability,
  pages,
  results,
  sources,
  spreadsheets,
  tables,
)
from tests import report_runs
from tests.conftest import ROOT, python
from tests.report_runs import row

_TRUE = "mlp_1x512/true/none"
_RANDOM = "mlp_1x512/random/none"


def _found(root, module=table1_cifar10, smoke=False, **kwargs):
  path = pathlib.Path(module.__file__)
  text = f"{path}:smoke" if smoke else str(path)
  return results.Results(sources.from_flag(text), root, **kwargs)


def _line(root, name, module=table1_cifar10, table=0, **kwargs):
  made = tables.all_of(_found(root, module, **kwargs))[table]
  line = next(line for line in made.rows if line.spec.runs == name)
  columns = [column.key for column in made.spec.columns]
  return line, dict(zip(columns, line.cells, strict=True))


def test_a_cell_is_mean_deviation_and_number_of_its_seeds(tmp_path):
  values = [0.50, 0.52, 0.57]
  for n, test in enumerate(values):
    name = f"{_TRUE}/seed{n}"
    report_runs.write(tmp_path, table1_cifar10, name, [row(1, test=test)])
  _, cells = _line(tmp_path, _TRUE)
  cell = cells["test"]
  assert cell.values == pytest.approx([50.0, 52.0, 57.0])
  assert cell.mean == pytest.approx(100 * np.mean(values))
  assert cell.std == pytest.approx(100 * np.std(values, ddof=1))
  assert results.text(cell, "%") == "53.00 ± 3.61"
  assert results.text(cells["gap"], "points") == "47.00 ± 3.61"


def test_missing_runs_are_dashes_and_are_counted(tmp_path):
  for name in (f"{_TRUE}/seed0", f"{_TRUE}/seed3", f"{_RANDOM}/seed3"):
    report_runs.write(tmp_path, table1_cifar10, name)
  line, cells = _line(tmp_path, _RANDOM)
  assert line.group.missing == 1
  assert tables.origin(line.group).runs == "1 of 2"
  line, cells = _line(tmp_path, "alexnet/random/none")
  assert {results.text(cell, "%") for cell in cells.values()} == {"—"}
  assert tables.origin(line.group) == ("0 of 2", "—", "—", "—", "—")
  assert results.paper_text(cells["test"], "%") == "9.86"


def test_seeds_that_nobody_asked_for_are_not_missing(tmp_path):
  report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  assert pages.build_section(_found(tmp_path)).counts.startswith("1 of 19 runs")


@pytest.mark.parametrize("state", ["running", "preempted", "diverged"])
def test_a_run_that_is_not_done_is_named_but_not_counted(tmp_path, state):
  name = f"{_TRUE}/seed0"
  report_runs.write(tmp_path, table1_cifar10, name, [row(7)], state=state)
  line, cells = _line(tmp_path, _TRUE)
  assert cells["test"].values == ()
  assert line.group.unfinished == (f"seed0 {state} at epoch 7",)
  assert line.group.missing == 0
  assert "seed0" in tables.all_of(_found(tmp_path))[0].notes[line.note]


@pytest.mark.parametrize(
  ("test", "agrees", "text"),
  [
    (0.5051, True, "+0.00 ✓"),
    (0.5151, True, "+1.00 ✓"),
    (0.5152, False, "+1.01 ✗"),
    (0.4951, True, "−1.00 ✓"),
    (0.4950, False, "−1.01 ✗"),
  ],
)
def test_a_difference_is_judged_by_the_tolerance(tmp_path, test, agrees, text):
  name = f"{_TRUE}/seed0"  # 50.51 % in the paper
  report_runs.write(tmp_path, table1_cifar10, name, [row(1, test=test)])
  _, cells = _line(tmp_path, _TRUE)
  assert cells["test"].agrees is agrees
  assert results.difference_text(cells["test"], "%") == text


def test_without_batch_norm_the_tolerance_is_three_points(tmp_path):
  for model in ("inception", "inception_no_bn"):  # 85.75 and 82.00
    name = f"{model}/true/none/seed0"
    report_runs.write(tmp_path, table1_cifar10, name, [row(1, test=0.84)])
  assert _line(tmp_path, "inception/true/none")[1]["test"].agrees is False
  _, cells = _line(tmp_path, "inception_no_bn/true/none")
  assert cells["test"].agrees


@pytest.mark.parametrize(
  ("change", "reason"),
  [
    (dict(images=1000, train_examples=1000), "1,000 of 50,000 training images"),
    (dict(images=20), "20 of 50,000 training images"),
    (dict(dataset="digits"), "data set digits instead of cifar10"),
    (dict(num_epochs=30), "num_epochs 30 instead of 100"),
    (dict(parameters=5), "5 parameters instead of 1,209,866"),
    (dict(batch_size=64), "batch_size 64 instead of 128"),
    (
      dict(schedule="exponential(decay=0.9)"),
      "schedule exponential(decay=0.9, every_epochs=1) instead of"
      " exponential(decay=0.95, every_epochs=1)",
    ),
    (
      dict(regularizers=("dropout(0.5)",)),
      "regularizers dropout(rate=0.5) instead of weight_decay(0.0)",
    ),
  ],
)
def test_what_is_not_the_papers_scale_says_why_and_is_not_judged(
  tmp_path, change, reason
):
  report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0", **change)
  line, cells = _line(tmp_path, _TRUE)
  assert line.group.reduced == (reason,)
  assert cells["test"].values and cells["test"].paper == 50.51
  assert cells["test"].difference is None and cells["test"].agrees is None
  made = tables.all_of(_found(tmp_path))[0]
  assert reason in made.notes[line.note]
  assert f"[{line.note}]" in tables.markdown(made)


def test_a_default_that_was_set_by_hand_is_not_the_papers_scale(tmp_path):
  config = table1_cifar10.get_config(f"{_TRUE}/seed0").to_dict()
  run = report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  run.update(argv=["main.py", "--config.model=mlp((512,), dropout_rate=0.0)"])
  line, _ = _line(tmp_path, _TRUE)
  (reason,) = line.group.reduced
  assert reason.startswith("model mlp(widths=(512,)") and "by hand" in reason
  assert config["model"] == "mlp(widths=(512,))"


def test_another_seed_or_evaluation_batch_is_the_same_set_up(tmp_path):
  name = f"{_TRUE}/seed0"
  report_runs.write(tmp_path, table1_cifar10, name, eval_batch_size=100)
  assert _line(tmp_path, _TRUE)[0].group.reduced == ()


def test_a_stand_in_is_judged_and_named_beside_every_number(tmp_path):
  name = f"{_RANDOM}/seed0"
  report_runs.write(tmp_path, table1_cifar10, name, dataset="cifar10_jpeg")
  line, cells = _line(tmp_path, _RANDOM)
  assert cells["train"].agrees
  assert line.group.remark.startswith("JPEG copy of CIFAR-10")
  assert "cifar10_jpeg, 50,000 images" in tables.origin(line.group)
  section = pages.build_section(_found(tmp_path))
  assert section.tables[0].notes[line.note].startswith(line.group.remark)
  assert line.group.remark in section.verdicts[0].made  # the others miss runs


@pytest.mark.parametrize(
  ("expected", "actual", "same"),
  [
    ("mlp((8,))", "mlp(widths=(8,), dropout_rate=0.0)", True),
    ("mlp", "mlp(widths=(8,))", True),
    ("mlp(widths=(8,))", "mlp(widths=(9,))", False),
    ("mlp()", "alexnet()", False),
    ("weight_decay(1)", "weight_decay(coefficient=1.0)", True),
    ("mine:Net(filters=2)", "mine:Net(filters=2)", True),
    ("mine:Net()", "mine:Net(filters=2)", True),  # its default
    ("mine:Net(filters=1)", "mine:Net(filters=2)", False),
    ("mine:Net()", "other:Net()", False),
    ("mine:make('a:b')", "mine:make(kind='a:b')", True),
  ],
)
def test_calls_are_compared_by_their_arguments(expected, actual, same):
  assert comparability._same_call(expected, actual) is same


def test_epochs_to_fit_and_their_ratio_are_of_the_same_seed(tmp_path):
  fitted = {("p0.0", 0): 2, ("p0.0", 1): 4, ("p0.5", 0): 6, ("p0.5", 1): 8}
  for (p, seed), epoch in fitted.items():
    rows = [row(e, 0.05 if e >= epoch else 0.2) for e in range(1, 10)]
    name = f"alexnet/{p}/seed{seed}"
    report_runs.write(tmp_path, fig1_randomization, name, rows)
  _, cells = _line(tmp_path, "alexnet/p0.5", fig1_randomization, 1)
  assert cells["fit"].values == (6, 8)
  assert cells["relative"].values == (3.0, 2.0)
  assert cells["relative"].paper == pytest.approx(39 / 31)
  _, cells = _line(
    tmp_path, "alexnet/p0.5", fig1_randomization, 1, threshold=0.01
  )
  assert results.text(cells["fit"], "epochs") == "never"


def test_a_run_that_never_fits_settles_near_its_last_loss(tmp_path):
  for p, losses in (("p0.0", (1, 0.06, 0.01)), ("p1.0", (2, 1, 0.26, 0.21))):
    rows = [row(epoch, loss) for epoch, loss in enumerate(losses, 1)]
    report_runs.write(tmp_path, fig1_randomization, f"alexnet/{p}/seed0", rows)
  _, cells = _line(tmp_path, "alexnet/p1.0", fig1_randomization, 1)
  assert cells["fit"].values == () and cells["fit"].never == 1
  assert cells["settled"].values == (3,) and cells["relative"].values == (1.5,)


def test_the_ratio_needs_the_baseline_of_its_seed(tmp_path):
  for name in ("alexnet/p0.0/seed0", "alexnet/p0.5/seed1"):
    report_runs.write(tmp_path, fig1_randomization, name)
  _, cells = _line(tmp_path, "alexnet/p0.5", fig1_randomization, 1)
  assert cells["relative"].values == ()
  assert results.text(cells["relative"], "times") == "—"


def test_a_ratio_to_a_reduced_baseline_is_not_judged(tmp_path):
  write = report_runs.write
  write(tmp_path, fig1_randomization, "alexnet/p0.5/seed0")
  write(tmp_path, fig1_randomization, "alexnet/p0.0/seed0", images=1000)
  _, cells = _line(tmp_path, "alexnet/p0.5", fig1_randomization, 1)
  assert cells["relative"].values == (1.0,)
  assert cells["relative"].difference is None
  assert cells["fit"].difference is not None


def test_errors_are_against_clean_and_against_corrupted_labels(tmp_path):
  metrics = row(1, test=0.8) | {"test/corrupted_accuracy": 0.3}
  name = "inception/p0.6/seed0"
  report_runs.write(tmp_path, fig1_randomization, name, [metrics], changed=0.54)
  _, cells = _line(tmp_path, "inception/p0.6", fig1_randomization, 1)
  assert results.text(cells["clean"], "%") == "20.00"
  assert results.text(cells["corrupted"], "%") == "70.00"
  assert cells["corrupted"].paper == 78.5 and cells["clean"].paper is None
  assert results.text(cells["changed"], "%") == "54.00"


def test_early_stopping_is_the_best_test_accuracy_less_the_last(tmp_path):
  tests = (0.7, 0.87, 0.87, 0.86)
  rows = [row(e, test=test) for e, test in enumerate(tests, 1)]
  report_runs.write(tmp_path, fig2_implicit, "inception/seed0", rows)
  _, cells = _line(tmp_path, "inception", fig2_implicit)
  assert results.text(cells["best"], "%") == "87.00"
  assert results.text(cells["epoch"], "epochs") == "2"
  assert results.text(cells["gain"], "points") == "1.00"
  verdict = pages.build_section(_found(tmp_path, fig2_implicit)).verdicts[0]
  assert "gains 1.00 points" in verdict.answer
  assert "87.00 % at epoch 2, 86.00 % at the end" in verdict.details


def test_the_verdict_compares_random_with_true_labels(tmp_path):
  for data, epoch, test in (("true", 3, 0.95), ("random", 21, 0.1)):
    rows = [row(e, 0.05 if e >= epoch else 1, test=test) for e in range(1, 31)]
    name = f"{data}/epochs30/seed0"
    report_runs.write(tmp_path, memorize, name, rows)
  rows = [row(e, 0.7, train=0.6, test=0.1) for e in range(1, 31)]
  report_runs.write(tmp_path, memorize, "gaussian/epochs30/seed0", rows)
  section = pages.build_section(_found(tmp_path, memorize))
  short, verdict, missing = section.verdicts[:3]
  head = "100.00 % train (chance 10.00 %), 10.00 % test"
  assert short.subject == "In short"
  assert short.answer == (
    f"yes, it memorizes random labels, within 30 epochs: {head}"
  )
  assert verdict.subject == "Within 30 epochs"
  assert verdict.answer == (
    f"yes, it memorizes random labels: {head}; fitted after 21 epochs, 7.00"
    " times as many as for true labels; images of noise are partly memorized:"
    " 60.00 % train"
  )
  assert "5.00 points with true labels" in verdict.details
  assert missing.answer == "— 1 of 1 runs missing"


def test_small_variants_are_their_own_report_and_never_judged(tmp_path):
  name = "smoke/inception/random/none/seed0"
  report_runs.write(
    tmp_path, table1_cifar10, name, images=500, parameters=26_404
  )
  made = tables.all_of(_found(tmp_path, smoke=True))[0]
  line = next(line for line in made.rows if line.group.done)
  assert line.spec.runs == "inception/random/none"
  assert len(made.rows) < 19
  assert "data set digits instead of cifar10" in line.group.reduced
  assert not any(c.agrees for line in made.rows for c in line.cells)
  full = tables.all_of(_found(tmp_path))[0]
  assert not any(line.group.done for line in full.rows)


def test_provenance_names_the_runs_code_data_and_device(tmp_path):
  run = report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed2")
  values = pages.as_json(pages.build_section(_found(tmp_path)))
  made = next(
    one for one in values["tables"][0]["rows"] if one["runs"] == _TRUE
  )
  assert made["missing"] == 0 and list(made["done"]) == ["seed2"]
  facts = made["done"]["seed2"]
  assert facts["commit"] == "0123456789abcdef" and facts["device"] == "cpu"
  assert facts["data"]["name"] == "cifar10" and facts["epochs"] == 1
  assert facts["fingerprint"] == run.status["fingerprint"]
  assert facts["config"]["model"].startswith("mlp(widths=(512,), ")
  assert str(tmp_path) not in json.dumps(values)


def test_a_cpu_has_the_name_of_its_host(tmp_path):
  run = report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  run.update(host="Some CPU, 2 cores")
  line, _ = _line(tmp_path, _TRUE)
  assert tables.origin(line.group).device == "Some CPU, 2 cores"
  run.update(device="Some GPU", devices=2)
  line, _ = _line(tmp_path, _TRUE)
  assert tables.origin(line.group).device == "Some GPU × 2"


def test_the_csv_has_a_line_for_every_number(tmp_path):
  report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  section = pages.build_section(_found(tmp_path))
  text = spreadsheets.csv_text(section.name, section.tables)
  lines = list(csv.DictReader(io.StringIO(text)))
  assert len(lines) == 19 * 4
  made = [one for one in lines if one["n"] != "0"]
  assert [one["column"] for one in made] == ["train", "test", "gap", "fit"]
  assert made[1]["mean"] == "50.0" and made[1]["paper"] == "50.51"
  assert made[1]["difference"] == "-0.51" and made[1]["agrees"] == "True"


def test_experiments_with_runs_are_found_without_being_named(tmp_path):
  with pytest.raises(errors.ConfigError, match=r"rethink\.sweep"):
    sources.discover(ROOT / "configs", tmp_path)
  report_runs.write(tmp_path, fig2_implicit, "smoke/inception/seed0")
  report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  found = sources.discover(ROOT / "configs", tmp_path)
  assert [one.name for one in found] == [
    "fig2_implicit-smoke",
    "table1_cifar10",
  ]


@pytest.mark.parametrize(
  ("args", "message"),
  [
    (["--config=configs/none.py"], "configs/none.py: there is no such file"),
    (["--config=configs/base.py"], "declares no REPORT"),
    (["--config=configs/memorize.py:true"], "leave out :true"),
    (["--runs=nowhere"], "--runs=nowhere: there is no such folder"),
    (["--no_such_flag=1"], "no_such_flag"),
    (["stray"], "unexpected argument 'stray'"),
  ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(tmp_path, args, message):
  done = python("-m", "rethink.report", f"--runs={tmp_path}", *args)
  assert done.returncode == 2
  assert message in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_measure_names_those_that_exist(tmp_path):
  report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  found = _found(tmp_path)
  one = table1_cifar10.REPORT.tables[0].rows[0]
  with pytest.raises(errors.ConfigError, match="epochs_to_fit"):
    found.cell(one, experiments.Column("x", "x", "epochs_to_fi"))
