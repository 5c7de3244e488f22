"""Verdicts: the right answer in plain words, and the tables' numbers."""

import json
import re
import statistics

import numpy as np
import pytest
from matplotlib import figure

from configs import expressivity, fig1_randomization, memorize, table1_cifar10
from rethink import experiments
from rethink.report import (
  drawing,
  figures,
  results,
  sources,
  style,
  tables,
  verdicts,
)
from tests import report_runs
from tests.conftest import ROOT
from tests.report_runs import row

_RANDOM = "random/epochs30"


def _found(module, root, smoke=False) -> results.Results:
  text = f"{module.__file__}:smoke" if smoke else module.__file__
  return results.Results(sources.from_flag(text), root)


def _random(root, train, loss=1.0, seed=0, images=400, **status):
  """Writes a run on random labels and returns its verdict."""
  rows = [row(1, 2.3, 0.1, 0.1), row(30, loss, train, 0.1)]
  name = f"{_RANDOM}/seed{seed}"
  run = report_runs.write(root, memorize, name, rows, images=images)
  run.update(**status)
  found = verdicts.all_of(_found(memorize, root))
  assert found[0].subject == "In short"
  return next(verdict for verdict in found if "30" in verdict.subject)


def test_what_equal_images_permit_is_no_failure_to_fit(tmp_path):
  # 100 images, four copies each: 52.25 % and 0.930 nats are all there is.
  bounds = {
    "train_accuracy_ceiling": 0.5225,
    "train_loss_floor": 0.930,
    "train_majority": 0.13,
    "train_duplicates": 300,
    "test_duplicates": 7,
  }
  verdict = _random(tmp_path, 0.5225, 0.97, attainable=bounds)
  assert verdict.answer == (
    "yes, it memorizes random labels: 52.25 % train (of at most 52.25 %,"
    " chance 13.00 %), 10.00 % test"
  )
  assert "0.05 above the lowest that can be attained, 0.9300, was reached" in (
    verdict.details
  )
  assert "300 of 400 training images equal an earlier one" in verdict.made
  assert "7 of 10,000 test images equal a training image" in verdict.made
  (table,) = tables.all_of(_found(memorize, tmp_path))
  line = next(line for line in table.rows if line.group.name == _RANDOM)
  assert results.bounded_text(line.cells[0], "%") == "52.25, ceiling 52.25"
  assert results.text(line.cells[3], "epochs") == "30"  # epochs to fit
  assert "52.25, ceiling 52.25" in tables.markdown(table)
  assert "at most 52.25 % train accuracy" in table.notes[line.note].lower()
  assert "not fitted" not in str(verdict)


@pytest.mark.parametrize(
  ("train", "status", "answer"),
  [
    (1.0, {}, "yes, it memorizes random labels: 100.00 % train (chance 10.00"),
    (0.96, {}, "yes, it"),
    (0.95, {}, "partly, it memorizes some random labels: 95.00 % train ("),
    (0.16, {}, "partly, it"),
    (0.14, {}, "no, it does not memorize random labels: 14.00 % train (chance"),
    (0.10, {}, "no, it does not"),
    (0.16, dict(attainable={"train_majority": 0.15}), "no, it does not"),
    (
      0.97,
      dict(attainable={"train_majority": 0.96}),
      "whether it memorizes random labels cannot be told: 97.00 % train (chanc",
    ),
    (
      0.10,
      dict(constant_since_epoch=3),
      "whether it memorizes random labels cannot be told, as the network is"
      " dead: its output is the same for every image since epoch 3: 10.00 %",
    ),
    (0.10, dict(constant_since_epoch=None), "no, it does not"),
  ],
)
def test_the_answer_is_in_the_first_words(tmp_path, train, status, answer):
  assert _random(tmp_path, train, **status).answer.startswith(answer)


def test_100_percent_is_yes_also_above_the_threshold(tmp_path):
  verdict = _random(tmp_path, 1.0, 0.141)
  assert verdict.answer.startswith("yes, it memorizes random labels: 100.00 %")
  assert verdict.details.startswith(
    "Clean train loss 0.1410 nats after 30 epochs; the fit threshold of 0.05"
    " was never reached"
  )


def test_seeds_that_disagree_are_counted(tmp_path):
  _random(tmp_path, 1.0)
  answer = _random(tmp_path, 0.1, seed=1).answer
  assert answer.startswith(
    "partly, it memorizes random labels in 1 of 2 runs: 55.00 ± 63.64 % train"
  )


def test_the_schedule_is_said_where_it_differs(tmp_path):
  verdict = _random(tmp_path, 1.0)
  assert "trained with" not in verdict.made
  name = "random/epochs100/seed0"
  report_runs.write(tmp_path, memorize, name, [row(100, 1.0, 0.4, 0.1)])
  short, *others = verdicts.all_of(_found(memorize, tmp_path))
  assert short.answer.startswith("yes, it memorizes random labels, within 30")
  for verdict, epochs in zip(others, (30, 100), strict=False):
    assert verdict.subject == f"Within {epochs} epochs"
    assert verdict.made.endswith(
      f"trained with learning rate 0.1, cosine(warmup_epochs=1.0) over {epochs}"
      " epochs"
    )


def test_other_schedules_are_not_compared(tmp_path):
  _random(tmp_path, 1.0, 0.01)
  name = "true/epochs30/seed0"
  rows, rate = [row(9)], 0.5
  report_runs.write(
    tmp_path, memorize, name, rows, images=400, learning_rate=rate
  )
  verdict = verdicts.all_of(_found(memorize, tmp_path))[1]
  assert verdict.answer.endswith("10.00 % test")
  assert (
    "True labels were trained with another schedule (learning rate 0.5"
    in (verdict.details)
  )


def test_test_examples_of_the_training_set_mark_the_numbers(tmp_path):
  verdict = _random(tmp_path, 1.0, test_overlap=10_000)
  mark = "10,000 of 10,000 test examples are training examples"
  assert mark in verdict.made
  (table,) = tables.all_of(_found(memorize, tmp_path))
  assert mark in next(iter(table.notes.values()))


def test_a_network_that_never_fits_is_not_drawn(tmp_path, monkeypatch):
  for p, train, losses in (
    ("0.0", 1.0, (0.5, 0.01)),
    ("0.5", 0.98, (1, 0.9, 0.8, 0.2, 0.2)),
    ("1.0", 0.19, (2.3, 2.3, 2.2, 2.1)),
  ):
    rows = [row(e, loss, train, 0.1) for e, loss in enumerate(losses, 1)]
    name = f"inception/p{p}/seed0"
    report_runs.write(tmp_path, fig1_randomization, name, rows)
  found = _found(fig1_randomization, tmp_path)
  plot = found.source.report.figures[1]
  assert plot.key == "1b-time-to-fit"
  line = next(iter(_drawn(plot, found)))
  np.testing.assert_allclose([y for y in line if y == y], [1.0, 2.0])
  for made in ("svg", "png"):  # takes seconds
    monkeypatch.setattr(style, made, lambda drawn: "")
  drawn = next(f for f in figures.all_of(found) if "1b" in f.key)
  assert drawn.caption.endswith("no run reached it: Inception at 1.")
  verdict = verdicts.all_of(found)[0]
  assert verdict.answer.startswith(
    "partly, it memorizes some random labels: 19"
  )
  assert "times" not in verdict.answer


def test_what_is_built_has_no_network_that_was_trained(tmp_path):
  name = "theorem1/random/seed0"
  report_runs.write(tmp_path, expressivity, name, [row(0, 0.0)])
  (record,) = _found(expressivity, tmp_path).group("theorem1/random").records
  outcome = record.config["outcome"]
  assert outcome["model"].startswith("inception(")
  assert tables.learner(outcome) == outcome["method"] == "construct()"
  outcome = {**outcome, "method": "complexity(learner='network()', draws=10)"}
  assert tables.learner(outcome).endswith("draws=10), " + outcome["model"])


# One number, one source.

_NUMBER = re.compile(
  r"(?<!\w)(\d[\d,.]*(?: ± [\d.]+)? (?:%|points|nats|times|epochs))"
)


def _drawn(plot, experiment) -> list[list[float]]:
  """The heights of a figure's lines of ours, as drawn."""
  axes = figure.Figure().add_subplot()
  drawing.draw(axes, plot, experiment, comparable=False)
  return [list(bars.lines[0].get_ydata()) for bars in axes.containers]


def _mean(numbers, digits) -> str:
  if len(numbers) < 2:
    return "".join(f"{number:.{digits}f}" for number in numbers)
  mean, spread = statistics.fmean(numbers), statistics.stdev(numbers)
  return f"{mean:.{digits}f} ± {spread:.{digits}f}"


def _fits(experiment, name) -> dict[str, int]:
  """The first epoch with a loss of at most 0.05, for seeds that have one."""
  fits = {}
  for seed, run in experiment.group(name).done.items():
    for line in run.rows:
      if line["epoch"] and line["train/loss"] <= 0.05:
        fits.setdefault(seed, line["epoch"])
  return fits


def _texts(experiment, spec) -> set[str]:
  """Every number that a verdict may say, with its unit.

  They are those of the tables and, computed anew from metrics.jsonl, those of
  the last rows; then limits: chance, levels and numbers of epochs.
  """
  found = set()
  names = {spec.random, spec.true, spec.noise}
  compared = False  # by a table
  for table in tables.all_of(experiment):
    for line in table.rows:
      if line.spec.runs in names:
        for column, cell in zip(table.spec.columns, line.cells, strict=True):
          text = results.text(cell, column.unit).partition(" (")[0]
          found |= {f"{text} {column.unit}", f"{column.level:g} nats"}
          if line.spec.baseline:
            compared |= column.measure.startswith("relative_")
  if not compared and spec.true:
    found.add(_ratio(experiment, spec))
  for name in names - {""}:
    lines = []
    fits = [*_fits(experiment, name).values()]
    found.add(f"{_mean(fits, int(len(fits) > 1))} epochs")
    for seed in experiment.group(name).done:
      folder = experiment.source.folder(experiment.root) / name / seed
      status = json.loads((folder / "status.json").read_text())
      changed = status["corruption"]["changed_fraction"]
      found.add(f"{100 * (1 - changed):.2f} %")
      text = (folder / "metrics.jsonl").read_text()
      lines.append(json.loads(text.splitlines()[-1]))
      config = json.loads((folder / "config.json").read_text())["outcome"]
      if "num_epochs" in config:
        found |= {
          f"{config['num_epochs']} epochs",
          f"{lines[-1]['epoch']} epochs",
        }
    for key, unit, factor, digits in (
      ("train/accuracy", "%", 100, 2),
      ("test/accuracy", "%", 100, 2),
      ("train/loss", "nats", 1, 4),
      ("gap", "points", 100, 2),
    ):
      numbers = [
        factor
        * (
          one["train/accuracy"] - one["test/accuracy"]
          if key == "gap"
          else one.get(key, 0.0)
        )
        for one in lines
      ]
      found.add(f"{_mean(numbers, digits)} {unit}")
  return found


def _ratio(experiment, spec) -> str:
  """The mean ratio of epochs to fit, of seeds that fit both kinds of labels."""
  late, early = (_fits(experiment, name) for name in (spec.random, spec.true))
  ratios = [n / early[seed] for seed, n in late.items() if early.get(seed)]
  return f"{_mean(ratios, 2)} times"


def _check_numbers(experiment) -> int:
  """Compares all verdicts with tables and records; returns how many numbers."""
  checked = 0
  said = {verdict.subject: verdict for verdict in verdicts.all_of(experiment)}
  for spec in experiment.source.report.verdicts:
    if isinstance(spec, experiments.Memorization) and spec.name in said:
      verdict = said[spec.name]
      numbers = _NUMBER.findall(f"{verdict.answer}. {verdict.details}")
      unknown = set(numbers) - _texts(experiment, spec)
      assert not unknown, (verdict, unknown)
      checked += len(numbers)
  for plot in experiment.source.report.figures:
    if isinstance(plot, experiments.Against):
      cells = drawing.cells(plot, experiment)
      means = [
        [cells[name].mean if cells[name].values else np.nan for _, name in line]
        for line in (
          [point for point in series.points if point[1] in cells]
          for series in plot.series
        )
        if any(cells[name].values for _, name in line)
      ]
      drawn = _drawn(plot, experiment)
      assert len(drawn) == len(means)
      for ours, theirs in zip(drawn, means, strict=True):
        np.testing.assert_array_equal(ours, theirs)
      checked += len(means)
  return checked


@pytest.mark.parametrize(
  "stem",
  ["expressivity", "fig1_randomization", "interpolants", "table1_cifar10"],
)
def test_committed_verdicts_say_the_numbers_of_tables_and_figures(stem):
  source = sources.from_flag(str(ROOT / "configs" / f"{stem}.py"))
  found = results.Results(source, ROOT / "reports" / "runs")
  assert _check_numbers(found) >= 10


def test_verdicts_say_the_numbers_of_tables_and_figures(tmp_path):
  """Three seeds that fit late, early or never, and evaluations now and then."""
  rng = np.random.default_rng(0)

  def write(module, name, epochs):
    for seed, epoch in enumerate(epochs):
      rows = []
      for e in sorted({1, 8, 30, max(1, min(epoch, 30) - 1), min(epoch, 30)}):
        fitted = e >= epoch
        loss = float(rng.uniform(0, 0.05) if fitted else rng.uniform(0.2, 2))
        train = 1.0 if fitted else float(rng.uniform(0.1, 0.9))
        rows.append(row(e, loss, train, float(rng.uniform(0.1, 0.5))))
      report_runs.write(tmp_path, module, f"{name}/seed{seed}", rows)

  write(fig1_randomization, "inception/p0.0", (2, 3, 5))
  write(fig1_randomization, "inception/p1.0", (29, 31, 12))
  write(fig1_randomization, "inception/gaussian", (9, 8, 7))
  write(table1_cifar10, "alexnet/true/none", (7, 4, 31))
  write(table1_cifar10, "alexnet/random/none", (20, 13, 11))
  write(memorize, "true/epochs30", (7, 2, 3))
  write(memorize, "random/epochs30", (29, 25, 30))
  for module in (fig1_randomization, table1_cifar10, memorize):
    assert _check_numbers(_found(module, tmp_path)) >= 5
