"""The console of a run, as people and other tools see it."""

import contextlib
import pathlib
import time

import pytest

from rethink import console, errors
from rethink.storage import metric_writers, runs


def _row(epoch: int, loss: float) -> runs.Row:
  return {
    "step": 10 * epoch,
    "epoch": epoch,
    "train/loss": loss,
    "train/accuracy": 1 - loss,
    "test/accuracy": 0.1,
    "time/images_per_second": 1234.5,
  }


def _directory(path, losses):
  run = runs.Run(path, {"seed": 0}, {"fit_threshold": 0.05})
  run.start()
  run.update(
    parameters=38410, data={"train": 1500}, corruption={"changed_fraction": 0.9}
  )
  for epoch, loss in enumerate(losses, 1):
    run.log(_row(epoch, loss))


def test_a_table_has_a_row_per_run_and_dashes_for_what_is_missing(tmp_path):
  _directory(tmp_path / "a", [0.5, 0.04, 0.03])
  _directory(tmp_path / "b", [])
  text = console.results_table(
    [("a", tmp_path / "a"), ("b", tmp_path / "b"), ("c", tmp_path / "c")]
  )
  header, rule, a, b, c = (
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in text.splitlines()
  )
  assert len({len(line) for line in text.splitlines()}) == 1
  assert a[:8] == [
    "a", "38,410", "1,500", "90.0%", "3", "2", "97.00%", "10.00%"
  ]  # fmt: skip
  assert set(b[1:]) == set(c[1:]) == {"-"}
  assert len(header) == len(rule) == len(c)


@pytest.mark.parametrize(
  ("threshold", "epoch"), [(0.5, 1), (0.05, 3), (0.04, 3), (0.01, None)]
)
def test_epochs_to_fit_is_the_first_at_or_below_the_threshold(threshold, epoch):
  rows = [_row(1, 0.5), _row(2, 0.06), _row(3, 0.04), _row(4, 0.07)]
  assert runs.epochs_to_fit(rows, threshold) == epoch


def test_without_a_terminal_the_last_epoch_is_printed_for_certain(capsys):
  with console.Progress("name", 100, 10, on=True) as progress:
    for epoch in range(1, 6):
      progress.step(10 * epoch, 0.5, 0.5)
      progress.row(_row(epoch, 0.1 * epoch))
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 1
  assert lines[0].startswith("name  epoch   5  train loss 0.5000")


def test_a_long_epoch_is_not_silent(capsys, monkeypatch):
  monkeypatch.setattr(console, "_SECONDS_OF_SILENCE", -1.0)
  with console.Progress("name", 100, 10, on=True) as progress:
    progress.step(10, 0.5, 0.25)
  assert "step 10 of 100  batch loss 0.5000 accuracy 25.00%" in (
    capsys.readouterr().out
  )


def test_tensorboard_gets_every_number(tmp_path):
  pytest.importorskip("tensorboardX")
  with contextlib.ExitStack() as stack:
    book = {"tensorboard": True, "wandb_project": ""}
    (log,) = metric_writers.open_all(stack, tmp_path, 1, book, {})
    log(_row(1, 0.5))
  data = b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").iterdir())
  assert b"train/loss" in data and b"test/accuracy" in data


def test_no_sink_is_opened_that_nobody_asked_for(tmp_path):
  with contextlib.ExitStack() as stack:
    book = {"tensorboard": False, "wandb_project": ""}
    assert metric_writers.open_all(stack, tmp_path, 1, book, {}) == []
  assert not list(tmp_path.iterdir())


def test_wandb_asked_for_and_missing_is_named(tmp_path):
  with contextlib.ExitStack() as stack:
    book = {"tensorboard": False, "wandb_project": "mine"}
    with pytest.raises(errors.ConfigError, match="pip install wandb"):
      metric_writers.open_all(stack, tmp_path, 1, book, {})


def test_wandb_keeps_its_identity_over_a_resume(tmp_path, monkeypatch):
  begun = []
  folder = pathlib.Path(tmp_path / "fake")
  folder.mkdir()
  (folder / "wandb.py").write_text(
    "calls = []\n"
    "class _Run:\n"
    "  def log(self, row, step): calls.append((step, row))\n"
    "  def finish(self): calls.append('finish')\n"
    "def init(**kwargs):\n"
    "  calls.append(kwargs['id'])\n"
    "  return _Run()\n"
  )
  monkeypatch.syspath_prepend(str(folder))
  import wandb  # pyright: ignore

  for _ in range(2):
    with contextlib.ExitStack() as stack:
      book = {"tensorboard": False, "wandb_project": "mine"}
      (log,) = metric_writers.open_all(stack, tmp_path, 1, book, {"seed": 1})
      log(_row(1, 0.5))
  begun = wandb.calls
  assert begun[0] == begun[3] and begun[1][0] == 10
  assert begun[2] == begun[5] == "finish"


def test_a_row_that_nothing_was_trained_for_has_no_speed():
  row = _row(1, 0.5)
  assert console.line(row, "name").endswith("1,234 images/s")
  del row["time/images_per_second"]
  assert console.line(row, "name").endswith("test accuracy 10.00%")


def _bar(monkeypatch, start: int):
  pytest.importorskip("rich")
  monkeypatch.setattr("sys.stdout.isatty", lambda: True)
  progress = console.Progress("name", 100, 10, on=True, start=start)
  return progress, lambda: progress._bar.tasks[0]


def test_a_bar_begins_where_the_run_resumes_and_ends_full(monkeypatch):
  progress, task = _bar(monkeypatch, start=40)
  assert task().percentage == 40
  with progress:
    progress.step(47, 0.5, 0.5)
    assert task().percentage == 47
    progress.end(47)  # stopped early by its rule
  assert task().percentage == 100 and task().finished


def test_long_waits_are_said_and_short_ones_are_not(capsys, monkeypatch):
  with console.waiting("reading cifar10"):
    pass
  assert not capsys.readouterr().out
  monkeypatch.setattr(console, "_SECONDS_OF_PATIENCE", 0.01)
  with console.waiting("reading cifar10"):
    time.sleep(0.1)
  assert capsys.readouterr().out == "reading cifar10, 0 s so far\n"


def test_runs_that_failed_now_are_marked_in_the_table(tmp_path):
  _directory(tmp_path / "a", [0.5])
  named = [("a", tmp_path / "a"), ("b", tmp_path / "b"), ("c", tmp_path / "a")]
  table = console.results_table(named, failed={"a": "failed", "b": "refused"})
  assert "| a (failed) " in table
  assert "| b (refused) " in table and "| c   " in table
