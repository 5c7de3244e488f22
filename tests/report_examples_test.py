"""Per-example files of runs, and what a report makes of them."""

import csv
import errno
import io
import pathlib

import numpy as np
import pytest

from configs import fig1_randomization, table1_cifar10
from rethink import errors
from rethink.report import examples, pages, results, sources
from rethink.storage import runs
from tests import report_runs

_TRUE = "mlp_1x512/true/none"


def _found(root, module=table1_cifar10, smoke=False, **kwargs):
  path = pathlib.Path(module.__file__)
  text = f"{path}:smoke" if smoke else str(path)
  return results.Results(sources.from_flag(text), root, **kwargs)


def _arrays(correct, label=(0, 1, 2), true_label=(0, 0, 2)):
  return {
    "id": np.arange(len(label)),
    "label": label,
    "true_label": true_label,
    "loss": np.linspace(0, 1, len(label)),
    "correct": correct,
  }


def test_examples_are_read_as_they_are_written(tmp_path):
  run = report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  run.log_examples(3, _arrays((True, False, True)))
  found = runs.read_examples(run.workdir)
  assert list(found) == [3]
  assert found[3]["id"].dtype == np.uint64
  assert found[3]["correct"].tolist() == [True, False, True]
  assert not list(run.workdir.glob("examples/*.partial"))
  path = run.workdir / "examples" / "epoch0004.npz"
  path.write_bytes(b"torn")
  with pytest.raises(errors.ConfigError, match=r"epoch0004\.npz"):
    examples.scores(run.workdir)
  np.savez(path, id=np.arange(3))  # of somebody else
  with pytest.raises(errors.ConfigError, match=r"epoch0004\.npz.*label"):
    examples.scores(run.workdir)


def test_clean_and_corrupted_examples_have_a_figure(tmp_path):
  def keys():
    section = pages.build_section(_found(tmp_path, fig1_randomization))
    return [figure.key for figure in section.figures]

  report_runs.write(tmp_path, fig1_randomization, "inception/p0.8/seed0")
  assert "fig1_randomization-examples-inception" not in keys()
  on = {"train/accuracy_on_clean": 1.0, "train/accuracy_on_corrupted": 0.5}
  rows = [report_runs.row(epoch, **on) for epoch in (1, 2)]
  report_runs.write(tmp_path, fig1_randomization, "inception/p0.5/seed0", rows)
  assert "fig1_randomization-examples-inception" in keys()


def test_the_export_scores_every_example(tmp_path):
  name = "inception/p0.5/seed0"
  run = report_runs.write(tmp_path, fig1_randomization, name)
  for epoch, correct in (
    (1, (True, False, False)),
    (2, (False, True, False)),
    (4, (True, True, False)),
  ):
    run.log_examples(epoch, _arrays(correct))
  path = tmp_path / "examples.csv"
  assert examples.export(path, [_found(tmp_path, fig1_randomization)]) == 3
  lines = list(csv.DictReader(io.StringIO(path.read_text())))
  assert [one["first_fitted_epoch"] for one in lines] == ["1", "2", "0"]
  assert [one["times_forgotten"] for one in lines] == ["1", "0", "0"]
  assert [one["corrupted"] for one in lines] == ["0", "1", "0"]
  assert {one["run"] for one in lines} == {name}
  assert lines[2]["last_loss"] == "1.0" and lines[2]["last_correct"] == "0"


def test_a_file_that_is_not_ours_is_left_out_and_left_alone(tmp_path):
  run = report_runs.write(tmp_path, table1_cifar10, f"{_TRUE}/seed0")
  run.log_examples(3, _arrays((True, False, True)))
  other = run.workdir / "examples/epochfoo.npz"
  other.write_bytes(b"mine")
  assert list(runs.read_examples(run.workdir)) == [3]
  run.cut()
  assert [p.name for p in other.parent.iterdir()] == ["epochfoo.npz"]


def test_an_export_that_cannot_be_written_is_one_sentence(
  tmp_path, monkeypatch
):
  for path in (tmp_path / "none" / "x.csv", tmp_path):
    with pytest.raises(errors.RethinkError, match=r"examples=.*folder"):
      examples.export(path, [])

  def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")

  path = tmp_path / "x.csv"
  path.write_text("older")
  monkeypatch.setattr(examples.spreadsheets, "write_rows", full)
  with pytest.raises(errors.RethinkError, match="No space left on device"):
    examples.export(path, [])
  assert path.read_text() == "older"
  assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]
