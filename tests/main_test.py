"""The entry points as a user types them: messages, exit codes, files."""

import pytest

from rethink.storage import runs
from tests.conftest import ROOT, python

_QUICK = (
  "--config.num_epochs=2",
  "--config.stop_at_train_loss=0.0",
  "--config.train_examples=200",
  "--config.bookkeeping.tensorboard=False",
)


def _main(*args: str):
  return python("-m", "rethink.main", *args)


@pytest.mark.parametrize(
  ("args", "said"),
  [
    ((), "--config=FILE is missing"),
    (("--config=configs/no.py",), "there is no such file"),
    (
      ("--config=configs/base.py:run",),
      "does not take this: too many positional",
    ),
    (("--config=configs/demo.py:no",), "mlp_1x512/true_labels"),
    (("--config=configs/demo.py", "--config.sed=1"), 'Did you mean "seed"'),
    (
      ("--config=configs/demo.py", "--config.zzz=1"),
      "no field 'zzz'; configs/",
    ),
    (("--config=configs/demo.py", "--config.seed=x"), "invalid literal"),
    (("--config=configs/demo.py", "--sed=1"), "Unknown command line flag"),
    (("--config=configs/demo.py", "extra"), "unexpected argument 'extra'"),
    (("--config=configs/base.py", "--workdir=s3://b/run"), "not supported"),
    (("--config=configs/base.py", "--workdir=gcs:b/run"), "gs://BUCKET/FOLDER"),
    (("--config=configs/base.py", "--data_dir=gs://b"), "copy the data"),
  ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(args, said):
  done = _main(*args)
  assert done.returncode == 2, done.stderr
  assert said in done.stderr
  assert done.stderr.startswith("rethink: ")
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
  ("args", "said"),
  [
    (("sweep", "--config=configs/demo.py"), "only rethink.main works in a"),
    (("report",), "`gcloud storage cp -r`"),
  ],
)
def test_runs_in_a_bucket_are_refused_where_they_cannot_be(args, said):
  module, *rest = args
  done = python("-m", f"rethink.{module}", *rest, "--runs=gs://b/runs")
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith("rethink: --runs=gs://b/runs is not a folder")
  assert said in done.stderr
  assert not (ROOT / "gs:").exists()


def test_a_bad_component_ends_with_exit_code_2(tmp_path, data_dir):
  done = _main(
    "--config=configs/demo.py",
    "--config.model=mlp(depth=3)",
    f"--workdir={tmp_path}",
    f"--data_dir={data_dir}",
  )
  assert done.returncode == 2
  assert "config.model" in done.stderr and "widths" in done.stderr


def test_missing_data_end_with_the_command_that_prepares_them(tmp_path):
  done = _main(
    "--config=configs/cifar10.py",
    f"--workdir={tmp_path}/run",
    f"--data_dir={tmp_path}/data",
  )
  assert done.returncode == 4
  assert "python -m rethink.prepare cifar10" in done.stderr
  assert "Traceback" not in done.stderr


def test_divergence_ends_with_exit_code_3(tmp_path, data_dir):
  done = _main(
    "--config=configs/demo.py",
    "--config.learning_rate=1e30",
    f"--workdir={tmp_path}",
    f"--data_dir={data_dir}",
  )
  assert done.returncode == 3
  assert "not finite at step" in done.stderr
  assert "learning rate 1e+30" in done.stderr


def test_help_names_the_flags_without_importing_jax():
  done = python("-X", "importtime", "-m", "rethink.main", "--help")
  assert "absl.flags" in done.stderr and "jax" not in done.stderr
  for flag in ("--config", "--workdir", "--data_dir"):
    assert flag in done.stdout


def test_a_run_ends_with_its_table_and_the_environment_names_the_data(
  tmp_path, data_dir
):
  done = python(
    "-m",
    "rethink.main",
    "--config=configs/demo.py:mlp_1x512/random_labels",
    f"--workdir={tmp_path}",
    *_QUICK,
    TFDS_DATA_DIR=data_dir,
  )
  assert done.returncode == 0, done.stderr
  last = done.stdout.strip().splitlines()[-1]
  assert last.startswith("| demo/mlp_1x512/random_labels | 38,410 ")
  assert runs.read(tmp_path).status["state"] == "done"


def test_each_variation_has_a_directory_of_its_own(tmp_path, data_dir):
  home = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
  args = ("--config=configs/base.py", f"--data_dir={data_dir}", *_QUICK)
  (tmp_path / "configs").symlink_to(ROOT / "configs")
  code = (
    "import os, sys; os.chdir(os.environ['HOME']);"
    "from rethink import cli, main; argv = ['main', *sys.argv[1:]];"
    "sys.argv = argv; cli.parse_flags(argv); sys.exit(main.main(argv))"
  )
  done = python("-c", code, *args, "--config.seed=1", **home)
  assert done.returncode == 0, done.stderr
  name = "default-num_epochs=2,seed=1,train_examples=200"
  assert [path.name for path in (tmp_path / "runs/base").iterdir()] == [name]
  assert f"| base/{name} | " in done.stdout
  again = python("-c", code, *args, "--config.seed=1", **home)
  assert "is done already" in again.stdout


def _sweep(tmp_path, data_dir, *args: str):
  return python(
    "-m",
    "rethink.sweep",
    "--config=configs/demo.py",
    f"--runs={tmp_path}",
    f"--data_dir={data_dir}",
    *_QUICK,
    *args,
  )


def test_a_sweep_runs_all_saves_a_table_and_skips_what_is_done(
  tmp_path, data_dir
):
  first = _sweep(tmp_path, data_dir, "--only=mlp_*/*labels")
  assert first.returncode == 0, first.stderr
  table = (tmp_path / "demo" / "results.md").read_text()
  assert table.count("mlp_") == 4
  assert table in first.stdout
  again = _sweep(tmp_path, data_dir, "--only=mlp_1x512/*")
  assert again.stdout.count("is done already") == 2
  table = (tmp_path / "demo" / "results.md").read_text()
  assert table.count("mlp_1x512") == 5 and table.count("mlp_3x512") == 2
  assert runs.read(tmp_path / "demo/mlp_1x512/gaussian").rows


def test_a_failing_run_does_not_stop_the_others(tmp_path, data_dir):
  done = _sweep(
    tmp_path,
    data_dir,
    "--only=mlp_1x512/*labels",
    "--config.learning_rate=1e30",
  )
  assert done.returncode == 1
  assert "2 runs failed: mlp_1x512/true_labels, mlp_1x512/random_labels" in (
    done.stderr
  )


def test_a_sweep_without_a_match_names_the_runs(tmp_path, data_dir):
  done = _sweep(tmp_path, data_dir, "--only=no/*")
  assert done.returncode == 2
  assert "inception/random_labels" in done.stderr


def test_a_base_config_is_no_sweep(tmp_path):
  done = python("-m", "rethink.sweep", "--config=configs/base.py")
  assert done.returncode == 2
  assert "rethink.main" in done.stderr
