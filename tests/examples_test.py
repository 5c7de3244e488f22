"""The files of docs/examples, run with the command of their docstring."""

import ast
import os
import shlex
import subprocess
import sys

from rethink.storage import runs
from tests.conftest import ROOT, clean_environment

SHORT = ("--config.num_epochs=1", "--config.train_examples=100")


def _run(name: str, data_dir: str, workdir) -> runs.Record:
  """Runs an example for one epoch; returns what its run directory holds."""
  source = (ROOT / "docs" / "examples" / name).read_text()
  text = ast.get_docstring(ast.parse(source))
  assert text
  words = shlex.split(text[text.index("PYTHONPATH=") :])
  variable, python, *arguments = words
  assert python == "python"
  environment = clean_environment()
  # Ours comes first: the package need not be installed from this folder.
  environment["PYTHONPATH"] = f"{ROOT}:{variable.partition('=')[2]}"
  arguments = [a for a in arguments if not a.startswith("--workdir")]
  more = (*SHORT, f"--workdir={workdir}", f"--data_dir={data_dir}")
  done = subprocess.run(
    [sys.executable, *arguments, *more],
    cwd=ROOT,
    env=environment | {"JAX_PLATFORMS": os.environ["JAX_PLATFORMS"]},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return runs.read(workdir)


def test_a_loss_of_ones_own_trains(data_dir, tmp_path):
  record = _run("my_loss.py", data_dir, tmp_path)
  assert record.status["state"] == "done"
  assert record.config["outcome"]["loss"] == "my_loss:focal(gamma=2.0)"
  assert len(record.rows) == 1
