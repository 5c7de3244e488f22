"""Whose a directory is: nothing is written into, or removed from, another's."""

import os
import pathlib
import shutil

import pytest

from rethink import errors
from rethink.methods import runner
from rethink.storage import checkpoints, locks, ownership, runs
from tests.checkpoint_faults_test import restored, save
from tests.conftest import ROOT, python
from tests.method_train_test import StopAfter

_OLD = ROOT / "tests/data/run_2445fbb"
_US, _NOBODY, _SOMEBODY = (
  ownership.Owner.US,
  ownership.Owner.NOBODY,
  ownership.Owner.SOMEBODY,
)


def _tree(folder: pathlib.Path) -> dict[str, bytes]:
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


def _foreign(folder: pathlib.Path, kind: str) -> pathlib.Path:
  """A folder as other programs leave it."""
  texts = {
    "years": {"checkpoints/2024/jan/model.pt": "weights"},
    "model": {"config.json": '{"layers": 12}', "weights": "w", "README": ""},
    "metrics": {"metrics.jsonl": '{"loss": 1}\n'},
    "status": {"status.json": '{"state": "done"}'},
    "lock": {"lock.json": "{}", "data.csv": "1"},
    "text": {"config.json": "not JSON"},
  }[kind]
  for name, text in texts.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
  return folder


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
  "kind", ["years", "model", "metrics", "status", "lock", "text"]
)
def test_somebody_elses_directory_is_refused_before_a_byte(
  config, tmp_path, kind, restart
):
  _foreign(tmp_path, kind)
  before = _tree(tmp_path)
  with pytest.raises(errors.ConfigError, match="not a directory of this prog"):
    runner.execute(
      config, str(tmp_path), "no data", StopAfter(), restart=restart
    )
  assert _tree(tmp_path) == before
  assert runner.outlook(config, tmp_path) == runner.FOREIGN


@pytest.mark.parametrize(
  ("names", "whose"),
  [
    ([], _NOBODY),
    (["lock.json"], _NOBODY),
    (["lock.json.1a2b3c4d.partial", "lock.json.abc"], _NOBODY),
    (["config.json.1a2b3c4d.partial"], _NOBODY),
    ([".DS_Store", "lost+found"], _NOBODY),
    (["notes.partial"], _SOMEBODY),
    (["checkpoints"], _SOMEBODY),
  ],
)
def test_what_a_killed_process_leaves_first_is_nobodys(tmp_path, names, whose):
  for name in names:
    (tmp_path / name).write_text("")
  assert ownership.owner(tmp_path) is whose
  assert ownership.owner(tmp_path / "missing") is _NOBODY


@pytest.mark.parametrize("lost", [[], ["config.json"], ["status.json"]])
def test_a_run_of_ours_is_known_by_each_of_its_records(tmp_path, lost):
  shutil.copytree(_OLD / "preempted", tmp_path / "run")
  for name in lost:
    (tmp_path / "run" / name).write_text('{"layers": 12}')
  (tmp_path / "run/notes of mine").write_text("")
  assert ownership.owner(tmp_path / "run") is _US
  for name in ("config.json", "status.json"):  # the manifests know it, too
    (tmp_path / "run" / name).unlink()
  assert ownership.owner(tmp_path / "run") is _US
  for path in (tmp_path / "run").rglob("manifest.json"):
    path.write_text(path.read_text().replace('"step": ', '"step": 1'))
  assert ownership.owner(tmp_path / "run") is _SOMEBODY


def test_a_file_in_place_of_a_directory_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.ConfigError, match="Not a directory"):
    ownership.check(tmp_path / "file", "workdir")


def test_an_unfinished_save_is_removed_somebody_elses_folder_set_aside(
  tmp_path, capsys
):
  save(tmp_path, 10, 20)
  shutil.copytree(tmp_path / "checkpoints/20", tmp_path / "checkpoints/30")
  (tmp_path / "checkpoints/30/manifest.json").unlink()
  _foreign(tmp_path, "years")
  (tmp_path / "checkpoints/old.deleted").mkdir()
  (tmp_path / "checkpoints/old.deleted/mine").write_text("")
  assert restored(tmp_path) == 20
  said = capsys.readouterr().out
  assert "30: removed" in said and "2024: set aside" in said
  assert sorted(os.listdir(tmp_path / "checkpoints")) == [
    "10", "20", "old.deleted"
  ]  # fmt: skip
  kept = tmp_path / "damaged/checkpoints-2024.deleted.1/jan/model.pt"
  assert kept.read_text() == "weights"


def test_a_file_of_the_users_inside_an_old_state_outlives_it(tmp_path):
  save(tmp_path, 10, keep=1)
  (tmp_path / "checkpoints/10/notes.txt").write_text("mine")
  save(tmp_path, 20, keep=1)
  assert os.listdir(tmp_path / "checkpoints") == ["20"]
  kept = list((tmp_path / "damaged").rglob("*"))
  assert [path.name for path in kept if path.is_file()] == ["notes.txt"]


@pytest.mark.parametrize("kind", ["link", "dangling", "file"])
def test_a_link_with_a_steps_name_is_set_aside_not_followed(
  tmp_path, capsys, kind
):
  save(tmp_path / "run", 10)
  save(tmp_path / "other", 20)
  before = _tree(tmp_path / "other")
  place = tmp_path / "run/checkpoints/20"
  if kind == "file":
    place.write_text("")
  else:
    target = "checkpoints/20" if kind == "link" else "gone"
    place.symlink_to(tmp_path / "other" / target)
  assert restored(tmp_path / "run") == 10
  word = "file" if kind == "file" else "symbolic link"
  assert f"20 is a {word}, not a saved state" in capsys.readouterr().err
  save(tmp_path / "run", 20, keep=1)
  assert os.listdir(tmp_path / "run/checkpoints") == ["20"]
  assert _tree(tmp_path / "other") == before


def test_checkpoints_that_are_a_link_are_refused(tmp_path):
  save(tmp_path / "other", 10)
  (tmp_path / "run").mkdir()
  (tmp_path / "run/checkpoints").symlink_to(tmp_path / "other/checkpoints")
  with pytest.raises(errors.ConfigError, match="is a symbolic link"):
    save(tmp_path / "run", 20)
  assert os.listdir(tmp_path / "other/checkpoints") == ["10"]


@pytest.mark.parametrize(
  "name", ["notes", "checkpoints", "checkpoints/x", "../config.json", "best"]
)
def test_only_names_that_this_program_writes_are_removed(tmp_path, name):
  with pytest.raises(ValueError):
    ownership.remove(tmp_path / name, tmp_path)


@pytest.mark.parametrize(
  "name", ["checkpoints", "best", "damaged", "examples", "curves"]
)
def test_a_file_in_place_of_a_folder_is_one_sentence(tmp_path, name):
  run = runs.Run(tmp_path, {"seed": 0}, {})
  run.start()
  (tmp_path / name).write_text("")
  with pytest.raises(errors.RethinkError, match=f"{name} cannot be written"):
    if name == "damaged":
      ownership.set_aside(tmp_path / "config.json", tmp_path)
    elif name == "examples":
      run.log_examples(1, {column: [0] for column in runs.EXAMPLES})
    elif name == "curves":
      run.log_curve("x", y=[1])
    else:
      save(tmp_path, 1)


def test_a_restart_keeps_records_that_it_cannot_read(
  config, tmp_path, data_dir, capsys
):
  config.num_epochs = 1
  runner.execute(config, str(tmp_path), data_dir, StopAfter())
  (tmp_path / "config.json").write_text("of mine")
  with pytest.raises(errors.ConfigError, match="is not valid JSON"):
    runner.execute(config, str(tmp_path), data_dir, StopAfter())
  runner.execute(config, str(tmp_path), data_dir, StopAfter(), restart=True)
  assert (tmp_path / "damaged/config.json.1").read_text() == "of mine"
  assert runs.read(tmp_path).status["state"] == "done"
  assert not (tmp_path / locks.NAME).exists()
  checkpoints.restart(tmp_path)  # may be asked again
  assert len(os.listdir(tmp_path / "damaged")) > 2


def test_a_table_of_somebody_elses_is_not_replaced(tmp_path):
  (tmp_path / "demo").mkdir()
  (tmp_path / "demo/results.md").write_text("# My results\n")
  done = python(
    *("-m", "rethink.sweep", "--config=configs/demo.py"),
    *("--only=mlp_1x512/true_labels", f"--runs={tmp_path}"),
  )
  assert done.returncode == 2 and "demo/results.md" in done.stderr
  assert (tmp_path / "demo/results.md").read_text() == "# My results\n"
