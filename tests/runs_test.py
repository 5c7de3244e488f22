import json
import shutil
import subprocess

import pytest

from rethink import errors
from rethink.storage import fingerprints, runs
from tests.conftest import ROOT, python

# What the status of a run that is done says.
RESULTS = {
  "device": "cpu",
  "devices": 1,
  "parameters": 5,
  "data": {"train": 3},
  "corruption": {"changed_fraction": 0.0},
}


def _run(path, **outcome):
  run = runs.Run(path, {"model": "mlp()", **outcome}, {"progress": True})
  run.start()
  return run


def test_what_is_written_is_read(tmp_path):
  run = _run(tmp_path, seed=3)
  run.log({"step": 1, "epoch": 1, "train/loss": 0.5})
  run.log({"step": 2, "epoch": 2, "train/loss": 0.25})
  run.check_data({"name": "digits", "fingerprint": "a"})
  run.update(state="done", **RESULTS, step=2, epoch=2)
  record = runs.read(tmp_path)
  assert record.config["outcome"] == {"model": "mlp()", "seed": 3}
  assert record.status["state"] == "done"
  assert [row["step"] for row in record.rows] == [1, 2]
  assert _run(tmp_path, seed=3).rows == record.rows


def test_a_curve_is_read_as_it_was_written(tmp_path):
  run = _run(tmp_path)
  assert runs.read_curve(tmp_path, "spectrum") == {}
  run.log_curve("spectrum", rank=[1, 2], value=[9.5, 0.5])
  run.log_curve("spectrum", rank=[1, 2, 3], value=[9.5, 0.25, 0.125])
  curve = runs.read_curve(tmp_path, "spectrum")
  assert {k: v.tolist() for k, v in curve.items()} == {
    "rank": [1, 2, 3],
    "value": [9.5, 0.25, 0.125],
  }
  (tmp_path / "curves" / "spectrum.npz").write_bytes(b"no zip")
  with pytest.raises(errors.ConfigError, match=r"spectrum\.npz cannot be read"):
    runs.read_curve(tmp_path, "spectrum")


def test_a_torn_last_line_is_left_out_and_cut(tmp_path):
  run = _run(tmp_path)
  run.log({"step": 1, "epoch": 1})
  with open(tmp_path / "metrics.jsonl", "a") as f:
    f.write('{"step": 2, "tr')
  assert runs.read(tmp_path).rows == [{"step": 1, "epoch": 1}]
  again = _run(tmp_path)
  again.cut(1)
  again.log({"step": 2, "epoch": 2})
  assert runs.read(tmp_path).rows == [
    {"step": 1, "epoch": 1},
    {"step": 2, "epoch": 2},
  ]


def test_a_torn_line_in_the_middle_is_named(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"step": 1, "epoch": 1}\n{"st\n')
  with pytest.raises(errors.ConfigError, match=r"metrics.jsonl:2"):
    runs.read(tmp_path)


def test_cut_forgets_the_rows_past_a_step(tmp_path):
  run = _run(tmp_path)
  for step in (5, 10, 15):
    run.log({"step": step, "epoch": step // 5})
  run.cut(10)
  assert [row["step"] for row in runs.read(tmp_path).rows] == [5, 10]


def test_examples_are_kept_up_to_the_state_not_to_the_last_row(tmp_path):
  run = _run(tmp_path)
  one = {name: [0] for name in runs.EXAMPLES}
  for epoch in (10, 15, 20):
    run.log_examples(epoch, one)
  run.log({"step": 10, "epoch": 10})
  run.cut(17, 17)
  assert [*runs.read_examples(tmp_path)] == [10, 15]


@pytest.mark.parametrize("restart", [False, True])
def test_a_start_from_nothing_leaves_no_rows_that_its_status_does_not_know(
  restart, tmp_path
):
  run = _run(tmp_path)
  run.update(parameters=5)
  run.log({"step": 1, "epoch": 1})
  if restart:
    _save_something(tmp_path)
  runs.Run(tmp_path, {"model": "mlp()"}, {}, restart=restart).start()
  record = runs.read(tmp_path)
  assert not record.rows and "parameters" not in record.status


def _save_something(path):
  (path / "checkpoints" / "10").mkdir(parents=True)


def test_another_config_is_refused_field_by_field(tmp_path):
  _run(tmp_path, seed=1, batch_size=128)
  _save_something(tmp_path)
  with pytest.raises(errors.ConfigError) as caught:
    _run(tmp_path, seed=2, batch_size=128)
  assert "seed: 1 -> 2" in str(caught.value)
  assert "batch_size" not in str(caught.value)
  assert runs.read(tmp_path).config["outcome"]["seed"] == 1


def test_a_run_without_a_saved_state_takes_another_config(tmp_path):
  _run(tmp_path, seed=1)
  _run(tmp_path, seed=2)
  assert runs.read(tmp_path).config["outcome"]["seed"] == 2


def test_bookkeeping_may_change(tmp_path):
  _run(tmp_path)
  _save_something(tmp_path)
  run = runs.Run(tmp_path, {"model": "mlp()"}, {"progress": False})
  run.start()
  assert runs.read(tmp_path).config["bookkeeping"]["progress"] is False


def test_other_data_are_refused(tmp_path):
  _run(tmp_path).check_data({"name": "digits", "fingerprint": "a"})
  _save_something(tmp_path)
  _run(tmp_path).check_data({"name": "digits", "fingerprint": "a"})
  with pytest.raises(errors.ConfigError, match="fingerprint: 'a' -> 'b'"):
    _run(tmp_path).check_data({"name": "digits", "fingerprint": "b"})


def test_the_fingerprint_depends_on_values_not_on_order():
  one = fingerprints.fingerprint({"a": 1, "b": 2})
  assert one == fingerprints.fingerprint({"b": 2, "a": 1})
  assert one != fingerprints.fingerprint({"a": 1, "b": 3})


def test_seconds_add_up_over_processes(tmp_path):
  run = _run(tmp_path)
  run._seconds_before = 100.0
  run.update(state="preempted")
  _save_something(tmp_path)
  assert _run(tmp_path).seconds > 100.0


def test_a_number_that_is_no_json_is_never_written(tmp_path):
  run = _run(tmp_path)
  with pytest.raises(ValueError):
    run.log({"step": 1, "train/loss": float("nan")})


def test_a_broken_file_is_named(tmp_path):
  _run(tmp_path)
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(errors.ConfigError, match=r"config\.json"):
    runs.read(tmp_path)


def test_the_commit_of_a_repository_around_the_environment_is_not_ours(
  tmp_path,
):
  code = (
    "import provenance; r = provenance.read(); print(r['commit'], r['dirty'])"
  )
  package = tmp_path / ".venv" / "rethink"
  package.mkdir(parents=True)
  shutil.copy(ROOT / "rethink/storage/provenance.py", package)
  (tmp_path / ".gitignore").write_text(".venv\n")
  for command in (
    "init -q",
    "add .gitignore",
    "-c user.name=x -c user.email=x commit -qm x",
  ):
    subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
  assert python("-c", code, PYTHONPATH=str(package)).stdout == "unknown None\n"


def test_status_says_which_code_and_versions(tmp_path):
  _run(tmp_path)
  status = json.loads((tmp_path / "status.json").read_text())
  assert set(status) >= {"commit", "dirty", "versions", "argv", "fingerprint"}
  assert status["versions"]["jax"]
