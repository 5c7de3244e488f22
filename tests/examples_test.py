"""The files under docs/examples, run by the commands in their docstrings."""

import ast
import re
import shlex

from rethink.storage import runs
from tests.conftest import ROOT, python


def _run(name: str, data_dir: str, workdir, *more: str) -> runs.Record:
  """Runs the command of an example's docstring, on small data."""
  path = ROOT / "docs" / "examples" / name
  text = ast.get_docstring(ast.parse(path.read_text()))
  command = re.search(r"PYTHONPATH=\S+ python (-m .*?)$", text, re.S | re.M)
  _, *args = shlex.split(f"python {text[command.start(1) :]}")
  args[args.index(next(a for a in args if a.startswith("--workdir=")))] = (
    f"--workdir={workdir}"
  )
  done = python(
    *args,
    f"--data_dir={data_dir}",
    *more,
    PYTHONPATH=f"{ROOT}:{path.parent}",
    JAX_PLATFORMS="cpu",
  )
  assert done.returncode == 0, done.stderr
  return runs.read(workdir)


def test_an_nnx_model(tmp_path, data_dir):
  record = _run(
    "nnx_model.py",
    data_dir,
    tmp_path / "run",
    "--config.num_epochs=2",
    "--config.train_examples=640",
  )
  assert record.status["state"] == "done"
  assert record.rows[-1]["train/accuracy"] > 0.5


def test_a_loss_of_ones_own_and_an_optimizer_of_optax(tmp_path, data_dir):
  record = _run(
    "my_loss.py",
    data_dir,
    tmp_path / "run",
    "--config.num_epochs=3",
    "--config.train_examples=640",
  )
  assert record.config["outcome"]["loss"] == "my_loss:poly(epsilon=1.0)"
  assert record.config["outcome"]["optimizer"].startswith("optax:adamw(")
  assert record.rows[-1]["train/accuracy"] > 0.5


def test_a_metric_of_ones_own_stands_in_every_row(tmp_path, data_dir):
  record = _run(
    "my_metric.py",
    data_dir,
    tmp_path / "run",
    "--config.num_epochs=2",
    "--config.train_examples=200",
  )
  assert len(record.rows) == 2
  for row in record.rows:
    for split in ("train", "test"):
      assert 0 < row[f"{split}/entropy"] < 2.31  # at most log 10
