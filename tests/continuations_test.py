"""A run directory goes on with more epochs, and with the same sources only."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from rethink import compiled, errors, settings
from rethink.methods import runner
from rethink.storage import (
  continuations,
  fingerprints,
  provenance,
  runs,
  user_sources,
)
from tests import method_train_test
from tests.conftest import ROOT

_execute, end = method_train_test._execute, method_train_test.end
noisy = method_train_test.noisy
_NET = """
import flax.linen as nn
from own_folder import layers

class Net(nn.Module):
  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    x = layers.act(nn.Dense(8)(images.reshape(len(images), -1)))
    return nn.Dense(self.num_classes)(x)
"""
_LAYERS = "from flax import linen\n\n\ndef act(x):\n  return linen.relu(x)\n"


def rate_of_a_part(step, run):
  """A user's own schedule that depends on the length of the run."""
  return 1.0 - step / run.num_steps


@pytest.fixture
def own(tmp_path, monkeypatch):
  """The folder of a user's own modules; forget() as another process would."""
  folder = tmp_path / "own"
  (folder / "own_folder").mkdir(parents=True)
  (folder / "own_net.py").write_text(_NET)
  (folder / "own_folder/__init__.py").write_text("")
  (folder / "own_folder/layers.py").write_text(_LAYERS)
  monkeypatch.syspath_prepend(folder)
  _forget()
  yield folder
  _forget()


def _pretend(config, workdir):
  """Leaves a run as if it had been trained to its end."""
  outcome = runner.resolve(config)[2].outcome
  run = runs.Run(workdir, outcome, {})
  run.start()
  size = {"train": 9, "test": 9}
  about = dict(device="cpu", devices=1, parameters=1, step=0, epoch=0)
  run.check_data({"name": "digits", "fingerprint": "0" * 32})
  run.log({"step": 0, "epoch": 0})
  changed = {"changed_fraction": 0.0}
  run.update(state="done", data=size, corruption=changed, **about)


def _forget():
  for name in [n for n in sys.modules if n.startswith("own_")]:
    del sys.modules[name]
  user_sources._closure.cache_clear()


@pytest.mark.parametrize("stopped", [False, True])
def test_more_epochs_end_in_the_bits_of_a_run_that_had_them_at_once(
  noisy, tmp_path, data_dir, stopped
):
  noisy.num_epochs = 4
  _execute(noisy, tmp_path / "whole", data_dir)
  noisy.num_epochs = 2
  short = _execute(noisy, tmp_path / "run", data_dir)
  noisy.num_epochs = 4
  assert runner.outlook(noisy, tmp_path / "run") == runner.LONGER
  if stopped:
    with pytest.raises(errors.PreemptedError):
      _execute(
        noisy, tmp_path / "run", data_dir, method_train_test.StopAfter(9)
      )
  longer = _execute(noisy, tmp_path / "run", data_dir)
  assert end(tmp_path / "run") == end(tmp_path / "whole")
  assert longer.identity == short.identity  # states of both are of one run
  known = [runs.read(tmp_path / name).config for name in ("run", "whole")]
  assert known[0]["fingerprint"] == known[1]["fingerprint"]
  assert known[0]["outcome"] == known[1]["outcome"]
  assert _execute(noisy, tmp_path / "run", data_dir).done
  noisy.num_epochs = 2
  with pytest.raises(errors.ConfigError, match="num_epochs: 4 -> 2"):
    _execute(noisy, tmp_path / "run", data_dir)


def test_a_schedule_that_knows_the_length_of_the_run_is_refused_with_the_reason(
  config, tmp_path, data_dir
):
  config.schedule = "cosine(warmup_epochs=1)"
  config.num_epochs = 1
  _pretend(config, tmp_path)
  config.num_epochs = 2
  with pytest.raises(errors.ConfigError, match=r"1 -> 2 \(cosine.*other rates"):
    _execute(config, tmp_path, data_dir)
  assert runner.outlook(config, tmp_path) == runner.REFUSED
  own = "tests.continuations_test:rate_of_a_part()"
  for text, free in (
    ("constant()", True),
    ("exponential()", True),
    ("cosine()", False),
    (own, False),
  ):
    config.schedule = text
    assert (compiled.refuse_longer(settings.resolve(config)) == "") == free


def _record(path, rows, **outcome):
  config = {"outcome": outcome, "fingerprint": "f"}
  return runs.Record(path, config, {"state": "done"}, rows)


@pytest.mark.parametrize(
  ("epochs", "every", "longer"), [(4, 2, True), (3, 2, False), (3, 1, True)]
)
def test_a_last_epoch_that_a_longer_run_would_not_evaluate_is_refused(
  epochs, every, longer, tmp_path
):
  (tmp_path / "checkpoints/10").mkdir(parents=True)
  fields = dict(eval_every_epochs=every, seed=0)
  record = _record(tmp_path, [{"epoch": epochs}], num_epochs=epochs, **fields)
  found = continuations.compare(
    record, dict(num_epochs=9, **fields), lambda: ""
  )
  assert found.longer == longer
  assert ("because it was the last" in str(found.differences)) != longer
  other = dict(num_epochs=9, **fields) | {"seed": 1}
  found = continuations.compare(record, other, lambda: "")
  assert "seed: 0 -> 1" in found.differences
  shutil.rmtree(tmp_path / "checkpoints")
  new = dict(num_epochs=9, **fields)
  found = continuations.compare(record, new, lambda: "")
  assert not found.longer and found.differences  # rows are never thrown away


def test_an_edited_module_of_the_users_own_is_named_with_the_difference(
  own, config, tmp_path, data_dir, capsys
):
  config.model = "own_net:Net()"
  _pretend(config, tmp_path / "run")
  outcome = runs.read(tmp_path / "run").config["outcome"]
  names = {"own_net.py", "own_folder/__init__.py", "own_folder/layers.py"}
  assert set(outcome["sources"]) == names
  kept = tmp_path / "run/sources"
  assert (kept / "own_folder/layers.py").read_text() == _LAYERS
  _forget()
  assert _execute(config, tmp_path / "run", data_dir).done  # nothing changed
  path = own / "own_folder/layers.py"
  path.write_text(_LAYERS.replace("relu", "tanh"))
  assert _execute(config, tmp_path / "run", data_dir).done  # read at the start
  _forget()
  with pytest.raises(errors.ConfigError) as caught:
    _execute(config, tmp_path / "run", data_dir)
  said = str(caught.value)
  assert f"own_folder/layers.py has been edited since ({path}):" in said
  assert "-  return linen.relu(x)" in said and "+  return linen.tanh(x)" in said
  assert "own_net.py" not in said and "sources:" not in said
  assert runner.outlook(config, tmp_path / "run") == runner.REFUSED

  # A run of a version that did not record them goes on, and says so.
  path = tmp_path / "run/config.json"
  old = json.loads(path.read_text())
  del old["outcome"]["sources"]
  old["fingerprint"] = fingerprints.fingerprint(old["outcome"])
  path.write_text(json.dumps(old))
  capsys.readouterr()
  assert _execute(config, tmp_path / "run", data_dir).done
  assert "did not record the source of own_folder" in capsys.readouterr().out
  assert json.loads(path.read_text()) == old


def test_runs_without_modules_of_ones_own_have_no_sources(config):
  assert "sources" not in runner.resolve(config)[2].outcome
  for text in ("optax:adamw()", "rethink.optimizers:adam()"):
    config.optimizer = text
    assert "sources" not in runner.resolve(config)[2].outcome


def test_imports_of_every_form_are_followed_into_own_folders_only(own):
  (own / "own_root.py").write_text(
    "import json, numpy\n"
    "def late():\n"
    "  from own_pack.inner import part\n"
    "  import importlib\n"
    "  return part, importlib.import_module('own_named')\n"
  )
  (own / "own_pack/inner").mkdir(parents=True)
  (own / "own_pack/inner/__init__.py").write_text("from .. import beside\n")
  (own / "own_pack/inner/part.py").write_text("from ..deep import leaf\n")
  (own / "own_pack/__init__.py").write_text("raise SystemExit('not run')\n")
  (own / "own_pack/beside.py").write_text("import no_such_module_at_all\n")
  (own / "own_pack/deep.py").write_text("leaf = 1\n")
  (own / "own_named.py").write_text("def broken(:\n")
  (own / "own_unused.py").write_text("")
  found = user_sources.read({"loss": "own_root:x(1)"})
  assert set(found) == {
    "own_root.py",
    "own_named.py",
    *(f"own_pack/{n}.py" for n in ("__init__", "beside", "deep")),
    *(f"own_pack/inner/{n}.py" for n in ("__init__", "part")),
  }
  inside = "complexity(learner='own_named:f()', draws=2)"
  assert set(user_sources.read({"method": inside})) == {"own_named.py"}


def test_a_long_difference_is_cut_and_a_lost_copy_is_no_error(tmp_path):
  new = {"a.py": "2", "b.py": "1"}
  text = "".join(f"x{i}\n" for i in range(100)).encode()
  source = user_sources.Source(tmp_path / "a.py", text)
  sources = {"a.py": source, "b.py": source}
  (tmp_path / "a.py").write_text("".join(f"y{i}\n" for i in range(100)))
  old = {"a.py": "1", "c.py": "1"}
  lines = user_sources.differences(old, new, tmp_path, sources)
  assert len(lines) < 30 and "lines more" in lines[-3]
  assert lines[-2:] == [
    "b.py: was not imported before",
    "c.py: no longer imported",
  ]
  (tmp_path / "a.py").unlink()
  assert len(user_sources.differences(old, new, tmp_path, sources)) == 3


def test_code_that_the_commit_does_not_hold_is_dirty(tmp_path):
  package = tmp_path / "rethink" / "storage"
  package.mkdir(parents=True)
  shutil.copy(ROOT / "rethink/storage/provenance.py", package)
  (tmp_path / "mine.py").write_text("")
  (tmp_path / ".gitignore").write_text("ignored.py\n__pycache__/\n")
  (tmp_path / "ignored.py").write_text("")
  for command in (
    "init -q",
    "add rethink .gitignore mine.py",
    "-c user.name=x -c user.email=x commit -qm x",
  ):
    subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
  (tmp_path / "new.py").write_text("")
  code = (
    "import os, provenance\n"
    "print(*(provenance.read([os.path.abspath(f)] if f else [])['dirty']"
    " for f in ('', 'mine.py', 'new.py', 'ignored.py', '/etc/hosts')))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env={"PYTHONPATH": str(package), "PATH": os.environ["PATH"]},
    capture_output=True,
    text=True,
  )
  assert done.stdout == "False False True True True\n", done.stderr
  assert provenance.read()["versions"]
