"""A report of runs that computed their model: one row, at epoch 0, no loss."""

import re

import pytest

from rethink import console
from rethink.methods import interpolate
from rethink.report import figures, pages, results, sources, tables
from rethink.storage import runs

_CONFIG = """
from configs import kernels
from rethink import experiments as ex

NORMS = {100: 5.0, 1000: 50.0}
RUNS = ex.product(
  n={str(n): dict(train_examples=n) for n in NORMS},
  labels={"true": {}, "random": dict(corruptions=("random_labels()",))},
  seed={"seed0": {}},
)

def get_config(run=next(iter(RUNS))):
  return ex.select(kernels.get_config(), RUNS, run)

REPORT = ex.Report(
  title="Solutions",
  source="Table 0",
  question="Does a solution have a report?",
  tables=(
    ex.Table(
      "norms", "Norms", ("n",),
      (ex.Column("norm", "norm", "end", "norm", ""),
       ex.Column("fit", "epochs to fit", "epochs_to_fit", unit="epochs"),
       ex.Column("error", "test error", "end_error", "test/accuracy", "%", 1),
       ex.Column("rank", "rank", "status", "interpolation/rank", ""),
       ex.Column("none", "none", "status", "interpolation/rank/x", "")),
      tuple(
        ex.Row((str(n),), f"{n}/true", {"error": 20.5}) for n in NORMS
      ),
    ),
  ),
  figures=(
    ex.Against("norm-n", "Norm", "norms", "norm", "n",
               (ex.Series("true", tuple((n, f"{n}/true") for n in NORMS)),),
               log="xy"),
    ex.Profile("spectrum", "Spectrum", "rank", "eigenvalue",
               tuple(ex.Trace(str(n), f"{n}/true", "spectrum", "rank", "value")
                     for n in NORMS), log="y"),
  ),
  verdicts=(ex.Memorization("kernel", "100/random", true="100/true"),),
)
"""


@pytest.fixture
def found(tmp_path) -> results.Results:
  path = tmp_path / "solved.py"
  path.write_text(_CONFIG)
  source = sources.from_flag(str(path))
  for run in source.runs:
    if run == "1000/random/seed0":
      continue
    _write(tmp_path / "runs" / "solved" / run, source.get_config(run))
  return results.Results(source, tmp_path / "runs")


def _write(folder, config) -> None:
  """Writes the records that a run of a kernel leaves."""
  resolved = interpolate.resolve(config)
  run = runs.Run(folder, resolved.outcome, resolved.bookkeeping)
  run.start()
  run.check_data({"name": "digits", "fingerprint": "0" * 32})
  random = bool(config.corruptions)
  run.log(
    {
      "step": 0,
      "epoch": 0,
      "train/accuracy": 1.0,
      "test/accuracy": 0.1 if random else 0.8,
      "norm": config.train_examples / 20,
    }
  )
  if not random:
    values = [2.0**-k for k in range(50)]
    run.log_curve("spectrum", rank=range(1, 51), value=values)
  run.update(
    state="done",
    step=0,
    epoch=0,
    device="cpu",
    devices=1,
    parameters=10 * config.train_examples,
    data={"train": config.train_examples, "test": 297},
    corruption={"changed_fraction": 0.9 * random},
    interpolation={"rank": 7},
    commit="0123456789abcdef",
    dirty=False,
  )


def test_numbers_and_their_difference_from_the_paper(found):
  (made,) = tables.all_of(found)
  norm, fit, error, rank, none = made.rows[1].cells
  assert rank.values == (7,) and none.values == ()
  assert norm.values == (50.0,) and error.values == pytest.approx((20.0,))
  assert error.difference == pytest.approx(-0.5) and error.agrees
  assert fit.values == () and fit.never == 1
  assert made.rows[0].group.reduced == ()  # preconditioner, kernel: the same


def test_a_verdict_says_fitted_without_a_loss_or_epochs(found):
  section = pages.build_section(found)
  (verdict,) = section.verdicts
  assert verdict.answer == (
    "yes, it memorizes random labels: 100.00 % train (chance 10.00 %), 10.00 %"
    " test"
  )
  assert "20.00 points with true labels" in verdict.details


def test_curves_and_columns_are_drawn_over_logarithmic_axes(found):
  norm, spectrum = figures.all_of(found)
  for figure in (norm, spectrum):
    assert "n = 1, digits." in figure.caption
  # Plain numbers on a small range, powers of ten on a large one.
  assert {"20", "100", "1000"} <= set(re.findall(r">(\d+)<", norm.svg))
  assert re.search(r"10.*\^", spectrum.svg)
  assert "eigenvalue" in spectrum.svg and ">100<" in spectrum.svg


def test_the_page_names_the_kernel_where_a_network_has_its_model(found):
  page = pages.html([pages.build_section(found)])
  assert "gaussian(bandwidth=0.0)" in page and "none" in page


def test_another_kernel_is_another_set_up(found, tmp_path):
  folder = found.source.folder(tmp_path / "runs") / "1000/random/seed0"
  config = found.source.get_config("1000/random/seed0")
  config.kernel, config.ridge = "laplacian()", 0.5
  config.preconditioner = "nystrom(rank=10)"
  _write(folder, config)
  assert found.group("1000/random").reduced == (
    "kernel laplacian(bandwidth=0.0) instead of gaussian(bandwidth=0.0)",
    "ridge 0.5 instead of 0.0",
  )


def test_the_summary_of_a_sweep_has_a_dash_for_epochs(found, tmp_path):
  folder = tmp_path / "runs" / "solved" / "100/true/seed0"
  assert "| - " in console.results_table([("one", folder)])
