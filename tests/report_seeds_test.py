"""A report averages and compares equal set-ups only, or says why not."""

import json

import pytest

from configs import (
  fig1_randomization,
  fig2_implicit,
  memorize,
  table1_cifar10,
)
from rethink import experiments
from rethink.report import measures, pages, results, tables
from rethink.storage import runs
from tests import report_runs
from tests.report_runs import row
from tests.report_test import _RANDOM, _TRUE, _found, _line


def _fits(epoch, until=100, every=1, **more):
  return [
    row(e, *((0.01, 1.0) if e >= epoch else (2.0, 0.1)), **more)
    for e in range(every, until + 1, every)
  ]


def _verdict(root, module=memorize, word="30"):
  verdicts = pages.build_section(_found(root, module)).verdicts
  return next(v for v in verdicts if word in v.subject)


def test_random_and_true_labels_are_compared_by_the_seeds_that_fit_both(
  tmp_path,
):
  for labels, epochs in (("true", (65, 20, 20)), ("random", (999, 35, 30))):
    for seed, epoch in enumerate(epochs):
      name = f"alexnet/{labels}/none/seed{seed}"
      report_runs.write(tmp_path, table1_cifar10, name, _fits(epoch))
  answer = _verdict(tmp_path, table1_cifar10, "AlexNet").answer
  assert answer.startswith("partly, it memorizes random labels in 2 of 3 runs")
  assert "70.00 ± 51.96 % train (chance 10.00 %)" in answer
  assert "fitted after 32.5 ± 3.5 epochs (2 of 3 runs)" in answer
  assert "1.62 ± 0.18 times as many as for true labels (2 of 3 runs)" in answer


@pytest.mark.parametrize(
  ("late", "said"),
  [
    (20, "after 20 epochs (evaluated every 5), no later than true labels, at"),
    (30, "after 30 epochs (evaluated every 5), 1.50 times as many as for true"),
  ],
)
def test_epochs_between_evaluations_are_not_counted(late, said, tmp_path):
  for labels, epoch in (("true", 20), ("random", late)):
    name = f"{labels}/epochs30/seed0"
    rows = _fits(epoch, 30, 5)
    report_runs.write(tmp_path, memorize, name, rows, eval_every_epochs=5)
  verdict = _verdict(tmp_path)
  assert said in verdict.answer
  assert "evaluated every 5 epochs" in verdict.made
  line, _ = _line(tmp_path, "random/epochs30", memorize)
  notes = tables.all_of(_found(tmp_path, memorize))[0].notes
  assert "valuated every 5 epochs" in notes[line.note]


@pytest.mark.parametrize("noise", [False, True])
def test_learners_at_another_scale_are_not_compared(noise, tmp_path):
  other = "gaussian" if noise else "true"
  write = report_runs.write
  write(tmp_path, memorize, "random/epochs30/seed0", _fits(20, 30))
  write(tmp_path, memorize, f"{other}/epochs30/seed0", images=1000)
  verdict = _verdict(tmp_path)
  assert verdict.answer.endswith("test")  # and no word of the other
  assert "were trained at another scale" in verdict.details


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (
      dict(train_examples=1000, images=1000),
      "train_examples 1000 instead of 0",
    ),
    (dict(dataset="cifar10_jpeg"), "dataset cifar10_jpeg instead of cifar10"),
    (dict(batch_size=64), "batch_size 64 instead of 128"),
  ],
)
def test_seeds_of_another_set_up_are_named_and_not_averaged(
  change, said, tmp_path
):
  report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  rows = [row(1, test=0.3)]
  name = f"{_TRUE}/seed1"
  report_runs.write(tmp_path, table1_cifar10, name, rows, **change)
  line, cells = _line(tmp_path, _TRUE)
  assert results.text(cells["test"], "%") == "50.00"
  assert line.group.unfinished == (f"seed1, which has {said}",)
  assert tables.origin(line.group).runs == "1 of 2"
  assert said in tables.all_of(_found(tmp_path))[0].notes[line.note]


def test_train_accuracy_of_a_part_is_said_to_be_of_a_part(tmp_path):
  name = "random/epochs30/seed0"
  report_runs.write(tmp_path, memorize, name, eval_train_examples=1000)
  assert "loss are measured on 1,000 images" in _verdict(tmp_path).made


def test_a_reduced_baseline_is_named_beside_the_row(tmp_path):
  write = report_runs.write
  write(tmp_path, fig1_randomization, "alexnet/p0.5/seed0")
  write(tmp_path, fig1_randomization, "alexnet/p0.0/seed0", images=1000)
  line, _ = _line(tmp_path, "alexnet/p0.5", fig1_randomization, 1)
  note = tables.all_of(_found(tmp_path, fig1_randomization))[1].notes[line.note]
  assert "its baseline alexnet/p0.0: 1,000 of 50,000" in note.lower()


def test_a_ratio_that_no_run_has_is_never_one_without_a_baseline_a_dash(
  tmp_path,
):
  for name in ("true/epochs30/seed0", "random/epochs30/seed0"):
    rows = _fits(5 if "true" in name else 99, 30)
    report_runs.write(tmp_path, memorize, name, rows)
  (tmp_path / "memorize/true/epochs30/seed0").rename(tmp_path / "true")
  for text in ("—", "never"):
    _, cells = _line(tmp_path, "random/epochs30", memorize)
    relative = next(key for key in cells if key.startswith("relative"))
    assert results.text(cells[relative], "times") == text
    if text == "—":
      (tmp_path / "true").rename(tmp_path / "memorize/true/epochs30/seed0")


def test_a_ratio_to_a_baseline_that_never_fits_is_a_dash(tmp_path):
  for name, epoch in (("true", 99), ("random", 5)):
    name = f"{name}/epochs30/seed0"
    report_runs.write(tmp_path, memorize, name, _fits(epoch, 30))
  _, cells = _line(tmp_path, "random/epochs30", memorize)
  relative = next(key for key in cells if key.startswith("relative"))
  assert results.text(cells[relative], "times") == "—"


def test_a_diverged_run_is_not_called_missing(tmp_path):
  name = "random/epochs30/seed0"
  report_runs.write(tmp_path, memorize, name, [row(1)], state="diverged")
  assert _verdict(tmp_path).answer == "— seed0 diverged at epoch 1"


def test_a_fit_is_what_the_run_says_it_is(tmp_path):
  name = f"{_RANDOM}/seed0"
  run = report_runs.write(tmp_path, table1_cifar10, name, [row(1, 0.09)])
  path = run.workdir / "config.json"
  config = json.loads(path.read_text())
  config["bookkeeping"]["fit_threshold"] = 0.1
  path.write_text(json.dumps(config))
  _, cells = _line(tmp_path, _RANDOM)
  assert results.text(cells["fit"], "epochs") == "1"


def test_another_draw_of_the_labels_is_the_papers_set_up(tmp_path):
  name = f"{_RANDOM}/seed0"
  report_runs.write(tmp_path, table1_cifar10, name, data_seed=1)
  assert _line(tmp_path, _RANDOM)[0].group.reduced == ()


def test_a_tolerance_widened_for_test_accuracies_is_for_them_alone(tmp_path):
  name = "inception_no_bn/true/none/seed0"
  rows = [row(1, train=0.972, test=0.84)]
  report_runs.write(tmp_path, table1_cifar10, name, rows)
  _, cells = _line(tmp_path, "inception_no_bn/true/none")
  assert cells["test"].agrees and cells["train"].agrees is False
  rows = [row(e, test=test) for e, test in ((1, 0.88), (2, 0.847))]
  report_runs.write(tmp_path, fig2_implicit, "inception_no_bn/seed0", rows)
  _, cells = _line(tmp_path, "inception_no_bn", fig2_implicit)
  assert cells["last"].agrees and not cells["gain"].agrees


def test_what_a_method_does_not_know_is_not_there(tmp_path):
  run = report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  run.update(interpolation={"condition": None, "rounds": 3})
  found = measures.FinishedRun(runs.read(run.workdir), 0.05)
  for key, value in (("condition", None), ("rounds", 3.0), ("norm", None)):
    column = experiments.Column(key, key, "status", f"interpolation/{key}")
    assert measures.status(found, column) == value
