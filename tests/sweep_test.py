"""The runner of many runs: what it chooses, skips, shares and reports."""

import re

import ml_collections
import pytest

from rethink import experiments
from rethink.storage import runs
from tests.conftest import python

_RUNS = experiments.product(
  model={"mlp": {}, "inception": {}},
  labels={"true": {}, "random": {}},
  seed={f"seed{k}": {} for k in range(3)},
)
_RUNS = {**_RUNS, "smoke/mlp/true/seed0": {}, "alone": {}}


def _sweep(tmp_path, data_dir, *args, config="configs/demo.py"):
  return python(
    "-m",
    "rethink.sweep",
    f"--config={config}",
    f"--runs={tmp_path}",
    f"--data_dir={data_dir}",
    *args,
  )


_QUICK = (
  "--config.num_epochs=1",
  "--config.train_examples=100",
  "--config.bookkeeping.tensorboard=False",
)


@pytest.mark.parametrize(
  ("choice", "number"),
  [
    (dict(group=""), 5),
    (dict(group="", seeds=2), 9),
    (dict(group="", only="mlp/*"), 2),
    (dict(group="", only="*/seed2"), 4),
    (dict(group="smoke"), 1),
    (dict(group="mlp"), 2),
    (dict(group="mlp/random", seeds=3), 3),
    (dict(group="", only="smoke/*"), 0),
    (dict(group="ml"), 0),
  ],
)
def test_a_group_a_pattern_and_a_number_of_seeds_choose(choice, number):
  assert len(experiments.choose(_RUNS, **choice)) == number


def test_jobs_of_an_array_share_the_runs(tmp_path, data_dir):
  shares = [
    _sweep(tmp_path, data_dir, "--list", f"--index={i}", "--count=2")
    for i in (0, 1)
  ]
  listed = [name for share in shares for name in share.stdout.split()]
  whole = _sweep(tmp_path, data_dir, "--list").stdout.split()
  assert len(whole) == 9
  assert sorted(listed) == sorted(whole)
  assert not list(tmp_path.iterdir())
  done = _sweep(tmp_path, data_dir, "--list", "--index=2", "--count=2")
  assert done.returncode == 2 and "--index=2 must be below" in done.stderr


def test_a_job_of_an_array_larger_than_the_sweep_has_nothing_to_do(
  tmp_path, data_dir
):
  done = _sweep(tmp_path, data_dir, "--index=9", "--count=10")
  assert done.returncode == 0, done.stderr
  assert done.stdout == "nothing to do: 9 runs, --count=10 jobs\n"


def test_a_dry_run_says_what_would_happen(tmp_path, data_dir):
  only = "--only=mlp_1x512/*_labels"
  new = _sweep(tmp_path, data_dir, only, "--dry_run", *_QUICK)
  assert new.stdout.split("\n")[:2] == [
    "mlp_1x512/true_labels: new",
    "mlp_1x512/random_labels: new",
  ]
  assert not (tmp_path / "demo").exists()
  _sweep(tmp_path, data_dir, "--only=mlp_1x512/true_labels", *_QUICK)
  after = _sweep(tmp_path, data_dir, only, "--dry-run", *_QUICK)
  assert "true_labels: done\n" in after.stdout
  other = _sweep(tmp_path, data_dir, only, "--dry_run")
  assert "true_labels: of another config, would be refused" in other.stdout
  run = runs.Run(tmp_path / "demo/mlp_1x512/random_labels", {"seed": 9}, {})
  run.start()
  run.update(state="failed")
  other = _sweep(tmp_path, data_dir, only, "--dry_run")
  assert "random_labels: new\n" in other.stdout  # nothing saved, nothing held


def test_runs_of_one_architecture_share_their_programs(tmp_path, data_dir):
  some = ("--only=mlp_1x512/*", *_QUICK, "--config.batch_size=30")
  done = _sweep(tmp_path, data_dir, *some)
  assert done.returncode == 0, done.stderr
  assert "5 runs: 0 done before, 5 done now, 0 failed" in done.stdout
  assert "\n5 runs" in done.stdout
  assert re.search(r"; 1 training programs compiled, \d+\.\d s", done.stdout)
  assert "\nrun 3 of 5: mlp_1x512/shuffled_pixels\n" in done.stdout
  again = _sweep(tmp_path, data_dir, *some)
  assert "5 runs: 5 done before, 0 done now" in again.stdout
  assert "; 0 training programs compiled" in again.stdout


def test_networks_with_convolutions_have_a_program_for_the_last_batch(
  tmp_path, data_dir
):
  some = ("--only=inception/true_labels", *_QUICK, "--config.batch_size=30")
  done = _sweep(tmp_path, data_dir, *some)
  assert done.returncode == 0, done.stderr
  assert "; 1 training programs and 1 of shorter last batches" in done.stdout


def test_fields_may_follow_two_dashes(tmp_path, data_dir):
  done = _sweep(
    tmp_path,
    data_dir,
    "--only=mlp_1x512/true_labels",
    "--",
    "num_epochs=1",
    "config.train_examples=50",
    "bookkeeping.tensorboard=False",
  )
  assert done.returncode == 0, done.stderr
  record = runs.read(tmp_path / "demo/mlp_1x512/true_labels")
  assert record.config["outcome"]["num_epochs"] == 1
  assert record.config["outcome"]["train_examples"] == 50
  wrong = _sweep(tmp_path, data_dir, "--", "num_epoch=1")
  assert wrong.returncode == 2 and "num_epoch" in wrong.stderr


def test_a_group_is_for_the_sweep_a_run_for_main(tmp_path, data_dir):
  args = ("--config=configs/demo.py:inception", f"--data_dir={data_dir}")
  done = python("-m", "rethink.main", *args)
  assert done.returncode == 2
  assert "'inception' of demo is a group of runs" in done.stderr
  listed = python("-m", "rethink.sweep", *args, "--list")
  assert listed.stdout.split() == [
    "inception/true_labels",
    "inception/random_labels",
  ]
  one = "--config=configs/demo.py:inception/true_labels"
  done = python("-m", "rethink.sweep", one)
  assert done.returncode == 2 and "rethink.main" in done.stderr


def test_a_group_leaves_the_rows_of_other_runs_in_the_table(tmp_path, data_dir):
  _sweep(tmp_path, data_dir, "--only=mlp_1x512/true_labels", *_QUICK)
  group = "configs/demo.py:mlp_3x512"
  only = "--only=*/true_labels"
  done = _sweep(tmp_path, data_dir, only, *_QUICK, config=group)
  assert done.returncode == 0, done.stderr
  table = (tmp_path / "demo" / "results.md").read_text()
  assert "mlp_1x512/true_labels" in table and "mlp_3x512/true_labels" in table


def test_a_refused_run_is_marked_and_a_sweep_of_them_leaves_the_table(
  tmp_path, data_dir
):
  only = "--only=mlp_1x512/true_labels"
  _sweep(tmp_path, data_dir, only, *_QUICK)
  path = tmp_path / "demo/results.md"
  before = path.read_text()
  some = (*_QUICK, "--config.batch_size=70")
  done = _sweep(tmp_path, data_dir, only, *some)
  assert done.returncode == 1
  assert "| mlp_1x512/true_labels" not in done.stdout
  assert "1 runs: 0 done before, 0 done now, 1 failed" in done.stdout
  assert path.read_text() == before
  done = _sweep(tmp_path, data_dir, "--only=mlp_1x512/*_labels", *some)
  assert "| mlp_1x512/true_labels (refused) |" in done.stdout
  assert "| mlp_1x512/random_labels         |" in path.read_text()
  assert "a refused run are those of an earlier one" in path.read_text()


def test_runs_that_all_fail_at_once_are_summed_up(tmp_path, data_dir):
  only = "--only=mlp_1x512/*_labels"
  done = _sweep(tmp_path / "new", data_dir, only, "--", "batch_size=0")
  assert done.returncode == 1, done.stderr
  assert "2 runs: 0 done before, 0 done now, 2 failed" in done.stdout
  assert "2 runs failed: mlp_1x512/true_labels" in done.stderr
  assert "Traceback" not in done.stderr


def test_a_name_that_is_a_run_is_no_group():
  config = ml_collections.ConfigDict({"n": 0})
  runs_ = {"a/b": {"n": 1}, "a": {"n": 2}}
  assert experiments.select(config, runs_, "a").n == 2
