"""Saves that are killed, fail, or do not fit the run: docs/reliability.md."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import jax.numpy as jnp
import pytest

from rethink import errors
from rethink.storage import manifests, retries
from tests.checkpoint_faults_test import (
  IDENTITY,
  open_all,
  restored,
  save,
  state,
)
from tests.conftest import ROOT, clean_environment


@pytest.fixture
def workdir(tmp_path):
  save(tmp_path, 10, 20)
  return tmp_path


def test_f32_the_newest_states_stay_and_old_ones_go(tmp_path):
  save(tmp_path, 1, 2, 3, 4, 5, keep=2)
  assert sorted(os.listdir(tmp_path / "checkpoints")) == ["4", "5"]
  manifest = json.loads((tmp_path / "checkpoints/5/manifest.json").read_text())
  assert manifest["step"] == 5 and manifest["finite"]
  assert manifest.items() >= IDENTITY.items()
  assert manifest["leaves"]["half"]["dtype"] == "bfloat16"
  assert manifest["leaves"]["params/kernel"]["shape"] == [32, 64]
  shutil.rmtree(tmp_path / "checkpoints/5/d")
  assert restored(tmp_path) == 4


_KILLED = """
import os, sys, threading
import orbax.checkpoint as ocp
from rethink.storage import manifests, ownership
from tests import checkpoint_faults_test as t
where, workdir = sys.argv[1:]
saved = t.open_all(workdir, keep=1)
saved.restore(t.state(0))
saved.save(10, t.state(10))
saved._newest.wait()
def die(*args, **kwargs):
  os._exit(137)
if where == "write":
  ocp.StandardCheckpointHandler.finalize = die
elif where == "before_manifest":
  manifests.write = die
elif where == "in_manifest":
  os.replace = die
else:
  ownership._remove_empty = die
saved.save(20, t.state(20))
saved.close()
"""


@pytest.mark.parametrize(
  ("where", "step"),
  [
    ("write", 10),
    ("before_manifest", 10),
    ("in_manifest", 10),
    ("in_deletion_of_the_old", 20),
  ],
)
def test_f2_a_kill_inside_a_save_costs_at_most_that_save(tmp_path, where, step):
  done = subprocess.run(
    [sys.executable, "-c", _KILLED, where, str(tmp_path)],
    cwd=ROOT,
    env=clean_environment(),
    timeout=120,
  )
  assert done.returncode == 137
  assert restored(tmp_path) == step
  assert os.listdir(tmp_path / "checkpoints") == [str(step)]
  assert not (tmp_path / "damaged").exists()
  save(tmp_path, 30)  # the interrupted one is in nobody's way
  assert restored(tmp_path) == 30


def test_f2_a_kill_inside_the_first_save_starts_over(workdir, capsys):
  shutil.rmtree(workdir / "checkpoints/10")
  (workdir / "checkpoints/20/manifest.json").unlink()
  assert restored(workdir) is None
  assert "its save was never finished" in capsys.readouterr().out
  assert not os.listdir(workdir / "checkpoints")


def test_f15_an_error_in_the_background_reaches_the_next_check(
  tmp_path, monkeypatch
):
  def fail(*args):
    raise OSError("disk on fire")

  saved = open_all(tmp_path)
  saved.restore(state(0))
  monkeypatch.setattr(retries, "WAITS", ())
  monkeypatch.setattr(manifests, "write", fail)
  saved.save(10, state(10))
  limit = time.monotonic() + 60
  with pytest.raises(errors.RethinkError, match="disk on fire"):
    while time.monotonic() < limit:
      saved.check()
      time.sleep(0.01)
  saved.save(20, state(20))  # raised once
  with pytest.raises(errors.RethinkError, match="disk on fire"):
    saved.close()


@pytest.mark.parametrize("change", ["dtype", "shape", "missing", "more"])
def test_f19_a_state_of_another_form_is_refused_and_kept(workdir, change):
  like = state(0, jnp.bfloat16 if change == "dtype" else jnp.float32)
  if change == "shape":
    like["half"] = like["half"][:50]
  elif change == "missing":
    del like["half"]
  elif change == "more":
    like["momentum"] = jnp.zeros(3)
  name = {"dtype": "params/kernel", "more": "momentum"}.get(change, "half")
  with pytest.raises(errors.ConfigError, match=rf"{name}: .*\n.*commit abc"):
    open_all(workdir).restore(like)
  assert restored(workdir) == 20


@pytest.mark.parametrize("key", ["config", "data"])
def test_f22_a_state_of_other_data_or_config_is_refused_and_kept(workdir, key):
  said = re.escape(f"{key}: fingerprint {IDENTITY[key]} -> other")
  with pytest.raises(errors.ConfigError, match=said):
    restored(workdir, **{key: "other"})
  assert restored(workdir, commit="another, which is fine") == 20


def test_f16_a_state_that_is_not_finite_is_never_taken_up(workdir, capsys):
  bad = state(30)
  bad["params"]["kernel"] = bad["params"]["kernel"].at[3, 3].set(jnp.nan)
  saved = open_all(workdir)
  saved.restore(state(0))
  saved.save(30, bad)
  saved.close()
  assert restored(workdir) == 20
  assert "not finite" in capsys.readouterr().err


def test_f33_states_are_ordered_by_step_not_by_time(tmp_path):
  save(tmp_path, 9, 10, 100)
  for step, seconds in {9: 3e9, 10: 0, 100: 1}.items():
    for path in (tmp_path / "checkpoints").glob(f"{step}/**"):
      os.utime(path, (seconds, seconds))
  assert restored(tmp_path) == 100
  save(tmp_path, 101, keep=2)
  assert sorted(os.listdir(tmp_path / "checkpoints")) == ["100", "101"]


def test_f32_a_damaged_best_never_stops_a_run(workdir, capsys):
  saved = open_all(workdir)
  saved.restore(state(0))
  saved.save_best(10, state(10))
  saved.save_best(20, state(20))
  saved.close()
  assert os.listdir(workdir / "best") == ["20"]
  (workdir / "best/20/_METADATA").unlink()
  saved = open_all(workdir)
  assert saved.best_step is None
  assert "best/20/_METADATA cannot be read" in capsys.readouterr().err
  assert os.listdir(workdir / "damaged") == ["best-20.1"]
  saved.save_best(20, state(20))
  saved.close()
  assert open_all(workdir).best_step == 20
  assert restored(workdir) == 20


def test_f32_a_best_of_another_run_is_set_aside(workdir, capsys):
  saved = open_all(workdir, config="another")
  saved.save_best(10, state(10))
  saved.close()
  assert open_all(workdir).best_step is None
  assert "belongs to another config or other data" in capsys.readouterr().err
