"""The launch scripts, with stand-ins that write down how they were called."""

import os
import pathlib
import re
import shutil
import signal
import string
import subprocess
import sys
import time

import pytest
import yaml

from rethink.storage import runs
from tests.conftest import ROOT, clean_environment

_LAUNCH = ROOT / "launch"
_SCRIPTS = sorted([*_LAUNCH.glob("*.sh"), _LAUNCH / "slurm.sbatch"])
_ARGS = ("--config=configs/base.py", "--workdir=a folder/run")

# Answers with the first line of a file, states or codes, and drops it; the last
# one stays.
_STAND_IN = """#!/usr/bin/env bash
printf '%s|' "$(basename "$0")" "$@" >> "$RECORD/calls"
echo >> "$RECORD/calls"
say() {
  head -n 1 "$RECORD/$1"
  [[ $(wc -l < "$RECORD/$1") == 1 ]] || sed -i 1d "$RECORD/$1"
}
case "$(basename "$0") $*" in
  *failedData*) echo "no quota" ;;
  *" describe "*)
    state=$(say states)
    case $state in
      NONE) echo "ERROR: NOT_FOUND: 'my-run' was not found" >&2; exit 1 ;;
      UNKNOWN) echo "ERROR: no network" >&2; exit 1 ;;
    esac
    echo "$state"
    ;;
  *" create "*) [[ -z ${REFUSE:-} ]] || exit 1 ;;
  *"test -f"*) say found ;;
  *"cat exit_code"*) say codes ;;
  srun*) exit "$(say codes)" ;;
  "kubectl apply "*) cat > "$RECORD/manifest" ;;
  sbatch*) # as Slurm: its own options, the script, the script's arguments
    while [[ $1 == --* ]]; do shift; done
    exec bash "$@"
    ;;
esac
"""


@pytest.fixture
def call(tmp_path):
  """Calls a script with stand-ins: call(script, *args, states=, codes=, **env).

  Without a script the arguments are those of bash. Returns the process and the
  calls of stand-ins, "name|argument|..." each.
  """
  for name in ("gcloud", "srun", "scontrol", "sbatch", "kubectl", "docker"):
    stand_in = tmp_path / "bin" / name
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text(_STAND_IN)
    stand_in.chmod(0o755)

  def run(script, *args, states=(), codes=(), found=("new",), **env):
    (tmp_path / "calls").write_text("")
    (tmp_path / "states").write_text("".join(f"{x}\n" for x in states))
    (tmp_path / "codes").write_text("".join(f"{x}\n" for x in codes))
    (tmp_path / "found").write_text("".join(f"{x}\n" for x in found))
    done = subprocess.run(
      ["bash", *([_LAUNCH / script] if script else []), *args],
      cwd=ROOT,
      env={
        **clean_environment(),
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "RECORD": str(tmp_path),
        **env,
      },
      capture_output=True,
      text=True,
      timeout=60,
    )
    return done, (tmp_path / "calls").read_text().split("|\n")[:-1]

  return run


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda p: p.name)
def test_shellcheck(script):
  beside = pathlib.Path(sys.executable).parent / "shellcheck"
  program = beside if beside.exists() else shutil.which("shellcheck")
  if not program:
    pytest.skip("no shellcheck; `make setup` installs it")
  done = subprocess.run([program, script], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout
  assert os.access(script, os.X_OK)


_TPU = {
  "TPU": "my-run",
  "ZONE": "us-west4-a",
  "TYPE": "v5litepod-16",
  "VERSION": "v2-alpha-tpuv5-lite",
  "POLL_SECONDS": "0",
}


def _count(calls, word: str) -> int:
  return sum(word in call for call in calls)


def test_a_tpu_slice_is_made_again_after_preemption_until_the_run_is_done(call):
  # None, in the queue, there; there and at work, gone; made again; done.
  states = ["NONE", "CREATING", "ACCEPTED", "WAITING_FOR_RESOURCES", "ACTIVE"]
  states += ["ACTIVE", "SUSPENDING", "SUSPENDING", "SUSPENDED", "DELETING"]
  states += ["NONE", "PROVISIONING", "ACTIVE"]
  done, calls = call(
    "tpu_vm.sh", "run", *_ARGS, states=states, codes=["", "0"], **_TPU
  )
  assert done.returncode == 0, done.stderr
  creates = [c for c in calls if "queued-resources|create" in c]
  assert len(creates) == 2 and creates[0] == creates[1]
  for part in ("my-run|", "--node-id=my-run", "=v5litepod-16", "--spot"):
    assert part in creates[0]
  assert _count(calls, "tpu-vm|scp") == 2  # installed on both slices
  assert _count(calls, "--worker=all|--command=set -e") == 2
  starts = [c for c in calls if "rethink.main" in c]
  assert len(starts) == 2
  assert len(set(starts)) == 1 and "--worker=all" in starts[0]
  assert "--platform=tpu" in starts[0]
  assert _count(calls, "queued-resources|delete") == 2
  assert "queued-resources|delete|my-run" in calls[-1]
  assert "--force|--quiet" in calls[-1]


def test_a_slice_that_gcloud_cannot_see_for_a_moment_is_left_alone(call):
  states = ["UNKNOWN", "ACTIVE", "UNKNOWN", "UNKNOWN", "ACTIVE"]
  done, calls = call(
    "tpu_vm.sh", "run", *_ARGS, states=states, codes=["", "", "0"], **_TPU
  )
  assert done.returncode == 0 and "no network" in done.stderr
  assert _count(calls, "queued-resources|create") == 0
  assert _count(calls, "rethink.main") == 1
  assert _count(calls, "queued-resources|delete") == 1


def test_a_run_that_is_at_work_is_waited_for_not_started_again(call):
  # The first connection fails.
  done, calls = call(
    "tpu_vm.sh",
    "run",
    *_ARGS,
    states=["ACTIVE"],
    codes=["", "0"],
    found=["", "there"],
    **_TPU,
  )
  assert done.returncode == 0, done.stderr
  assert _count(calls, "rethink.main") == 0
  assert _count(calls, "tpu-vm|scp") == 0


def test_a_request_that_fails_is_made_again_but_not_for_ever(call):
  states = ["NONE", "PROVISIONING", "FAILED"] * 3
  done, calls = call(
    "tpu_vm.sh", "run", *_ARGS, states=states, MAX_TRIES="3", **_TPU
  )
  assert done.returncode == 1
  assert _count(calls, "queued-resources|create") == 3
  assert done.stdout.count("no quota") == 3
  assert "queued-resources|delete" in calls[-1]
  done, calls = call(
    "tpu_vm.sh", "run", *_ARGS, states=["NONE"], REFUSE="yes", **_TPU
  )
  assert done.returncode == 1
  assert _count(calls, "queued-resources|create") == 5


@pytest.mark.parametrize("code", [2, 3, 4])
def test_a_run_that_cannot_go_on_ends_and_its_slice_is_deleted(call, code):
  done, calls = call(
    "tpu_vm.sh", "run", *_ARGS, states=["ACTIVE"], codes=[code], **_TPU
  )
  assert done.returncode == code
  assert _count(calls, "rethink.main") == 1
  assert "queued-resources|delete" in calls[-1]


def test_a_crash_is_tried_again_on_the_same_slice_but_not_for_ever(call):
  done, calls = call(
    "tpu_vm.sh",
    "run",
    *_ARGS,
    states=["ACTIVE"],
    codes=[134],
    found=["new", "there"],
    MAX_TRIES="3",
    **_TPU,
  )
  assert done.returncode == 134
  assert _count(calls, "rethink.main") == 3
  assert _count(calls, "queued-resources|create") == 0
  assert _count(calls, "queued-resources|delete") == 1


def test_what_starts_on_a_worker_runs_and_leaves_its_exit_code(
  call, tmp_path, monkeypatch
):
  _, calls = call("tpu_vm.sh", "start", *_ARGS, **_TPU)
  command = calls[0].partition("--command=")[2]
  python = tmp_path / "rethink-run/.venv/bin/python"
  python.parent.mkdir(parents=True)
  python.write_text('#!/bin/sh\nprintf "%s|" "$@"\nexit 75\n')
  python.chmod(0o755)
  for _ in range(2):  # again, over what an earlier start has left
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    code = tmp_path / "rethink-run/exit_code"
    limit = time.monotonic() + 30
    while not code.exists() or not code.read_text():
      assert time.monotonic() < limit
      time.sleep(0.01)
    assert code.read_text() == "75\n"
  log = (tmp_path / "rethink-run/run.log").read_text()
  assert log == 2 * f"-m|rethink.main|--platform=tpu|{'|'.join(_ARGS)}|"


def test_a_worker_that_was_rebooted_counts_as_failed(call, tmp_path):
  _, calls = call("tpu_vm.sh", "wait", states=["ACTIVE"], codes=["0"], **_TPU)
  command = calls[1].partition("--command=")[2]
  folder = tmp_path / "rethink-run"
  folder.mkdir()

  def said() -> str:
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, stdout=-1)
    assert done.returncode == 0
    return done.stdout.decode()

  with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
    (folder / "pid").write_text(f"{process.pid}\n")
    assert said() == ""  # at work
    process.kill()
  assert said() == "1\n"  # gone without a word
  (folder / "exit_code").write_text("75\n")
  assert said() == "75\n"


def test_tpu_without_a_name_says_what_is_missing(call):
  done, calls = call("tpu_vm.sh", "run", ZONE="z")
  assert done.returncode and "a name for the slice" in done.stderr
  assert not calls


_JOB = {"SLURM_JOB_ID": "7", "PYTHON": "python"}


@pytest.mark.parametrize(
  ("code", "env", "requeued"),
  [
    (0, {}, False),
    (2, {}, False),
    (3, {}, False),
    (75, {"SLURM_RESTART_COUNT": "1000"}, True),  # saved: as often as it takes
    (1, {}, False),  # a run of the sweep has failed, say
    (134, {}, True),
    (137, {"SLURM_RESTART_COUNT": "20"}, False),
  ],
)
def test_slurm_requeues_what_another_try_may_mend(call, code, env, requeued):
  done, calls = call("slurm.sbatch", *_ARGS, codes=[code], **_JOB, **env)
  assert done.returncode == code
  wanted = ("srun", "--kill-on-bad-exit=0", "--wait=150", "python", "-m")
  assert calls[0] == "|".join([*wanted, "rethink.main", *_ARGS])
  assert calls[1:] == (["scontrol|requeue|7"] if requeued else [])


def test_an_array_of_slurm_shares_a_sweep(call):
  _, calls = call(
    "slurm.sbatch",
    "--config=configs/demo.py",
    codes=[0],
    SLURM_ARRAY_TASK_ID="6",
    SLURM_ARRAY_TASK_MIN="4",
    SLURM_ARRAY_TASK_COUNT="8",
    **_JOB,
  )
  assert calls[0].endswith("|--config=configs/demo.py|--index=2|--count=8")
  assert "|rethink.sweep|" in calls[0]


def _head(name: str) -> list[str]:
  """The commands in the comment at a file's head, paragraph by paragraph."""
  found = []
  for block in (_LAUNCH / name).read_text().split("\n#\n"):
    lines = re.findall(r"^#   (.+)$", block, re.M)
    if lines and len(lines) == len(re.findall(r"^#", block, re.M)):
      found.append("\n".join(lines))
  return found


def test_the_commands_at_the_head_of_slurm_sbatch_work(call):
  one, array = _head("slurm.sbatch")
  done, calls = call("", "-c", one, codes=[0], **_JOB)
  assert done.returncode == 0, done.stderr
  assert [x.partition("|")[0] for x in calls] == ["sbatch", "srun"]
  assert "--config=configs/table1_cifar10.py:inception" in calls[1]
  env = {"ID": "1", "MIN": "0", "COUNT": "8"}
  env = {f"SLURM_ARRAY_TASK_{name}": value for name, value in env.items()}
  done, calls = call("", "-c", array, codes=[0], **_JOB, **env)
  assert calls[1].endswith("--runs=DIR|--index=1|--count=8")


def test_the_commands_at_the_head_of_the_jobset_work(call, tmp_path):
  if not shutil.which("envsubst"):
    pytest.skip("no envsubst (gettext)")
  (commands,) = _head("gke_jobset.yaml")
  done, calls = call("", "-e", "-c", commands)
  assert done.returncode == 0, done.stderr
  assert [x.partition("|")[0] for x in calls] == [
    *("docker", "docker"),
    *("kubectl", "kubectl", "kubectl"),
  ]
  text = (tmp_path / "manifest").read_text()
  assert "$" not in text.partition("apiVersion")[2]
  jobset = yaml.safe_load(text)
  assert jobset["metadata"]["name"] == "my-run"
  assert "gs://my-bucket/runs/my-run" in text


def test_an_image_holds_nothing_that_git_ignores():
  def names(path: pathlib.Path) -> set[str]:
    lines = path.read_text().splitlines()
    return {x.removeprefix("**/").strip("/") for x in lines if x[:1] != "#"}

  ignored = names(_LAUNCH / "Dockerfile.dockerignore")
  assert ignored == names(ROOT / ".gitignore")


def test_slurm_warns_before_the_time_is_up():
  options = re.findall(
    r"^#SBATCH (.+)$", (_LAUNCH / "slurm.sbatch").read_text(), re.M
  )
  assert {"--signal=TERM@180", "--requeue", "--open-mode=append"} <= {*options}


def _jobset() -> dict:
  text = (_LAUNCH / "gke_jobset.yaml").read_text()
  values = {
    name: f"x{i}" for i, name in enumerate(re.findall(r"\{(\w+)\}", text))
  }
  values |= {"HOSTS": "4", "CHIPS_PER_HOST": "8"}
  head = text.partition("apiVersion")[0]
  for name in values:  # the commands at its head set all
    assert f"{name}=" in head, name
  return yaml.safe_load(string.Template(text).substitute(values))


def test_the_jobset_restarts_what_another_try_may_mend():
  jobset = _jobset()
  assert (jobset["apiVersion"], jobset["kind"]) == (
    "jobset.x-k8s.io/v1alpha2",
    "JobSet",
  )
  (processes,) = jobset["spec"]["replicatedJobs"]
  job = processes["template"]["spec"]
  assert job["parallelism"] == job["completions"] == 4
  pod = job["template"]["spec"]
  (container,) = pod["containers"]
  assert container["resources"]["limits"] == {"google.com/tpu": 8}
  assert pod["restartPolicy"] == "Never" and job["backoffLimit"] == 0
  (rule,) = job["podFailurePolicy"]["rules"]
  assert rule["action"] == "FailJob"
  assert rule["onExitCodes"]["containerName"] == container["name"]
  assert rule["onExitCodes"]["values"] == [2, 3, 4]
  (policy,) = jobset["spec"]["failurePolicy"]["rules"]
  assert policy["action"] == "FailJobSet"
  assert re.fullmatch(r"[A-Za-z]\w*", policy["name"])
  assert "--platform=tpu" in container["args"]
  (workdir,) = (x for x in container["args"] if x.startswith("--workdir="))
  assert workdir.startswith("--workdir=gs://")  # a pod's disk goes with it
  (volume,), (mount,) = pod["volumes"], container["volumeMounts"]
  assert volume["name"] == mount["name"] and volume["csi"]["readOnly"]
  assert f"--data_dir={mount['mountPath']}/data" in container["args"]


def test_skypilot_recovers_saved_runs():
  task = yaml.safe_load((_LAUNCH / "skypilot.yaml").read_text())
  assert task["resources"]["use_spot"] is True
  assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [75]
  used = set(re.findall(r"\$\{?([A-Z]+)\b", str(task)))
  assert used == set(task["envs"])
  assert task["envs"]["WORKDIR"].startswith("gs://")
  assert "gcs" in task["envs"]["EXTRA"].split(",")
  assert "--data_dir=/data " in task["run"] and "/data" in task["file_mounts"]


def test_skypilot_starts_one_process_on_each_machine(tmp_path):
  task = yaml.safe_load((_LAUNCH / "skypilot.yaml").read_text())
  python = tmp_path / ".venv/bin/python"
  python.parent.mkdir(parents=True)
  python.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
  python.chmod(0o755)
  done = subprocess.run(
    ["bash", "-c", task["run"]],
    cwd=tmp_path,
    env={
      **task["envs"],
      "PATH": os.environ["PATH"],
      "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
      "SKYPILOT_NUM_NODES": "2",
      "SKYPILOT_NODE_RANK": "1",
    },
    capture_output=True,
    text=True,
  )
  assert "--workdir=gs://my-bucket/runs/my-run|" in done.stdout, done.stderr
  network = "--coordinator=10.0.0.1:8476|--num_processes=2|--process_id=1|"
  assert done.stdout.endswith(network)


def test_the_flags_that_scripts_give_exist():
  names = ("main", "sweep", "cli", "report/__main__")
  sources = [ROOT / "rethink" / f"{name}.py" for name in names]
  known = re.findall(
    r"(?:DEFINE_\w+|define_path)\(\s*\"(\w+)\"",
    "".join(p.read_text() for p in sources),
  )
  for path in (*_SCRIPTS, *_LAUNCH.glob("*.yaml")):
    text = path.read_text()
    if path.name == "gke_jobset.yaml":
      given = re.findall(r"- --(\w+)=", text)
    else:  # on the lines of a command of ours
      commands = re.findall(r"-m rethink(?:.+\\\n)*.+", text)
      given = re.findall(r"--(\w+)=", "".join(commands))
    assert given and {*given} <= {*known, "python"}, (path.name, given)


@pytest.mark.slow
def test_local_sh_runs_two_processes_and_passes_signals_on(tmp_path, data_dir):
  def start():
    return subprocess.Popen(
      [
        "launch/local.sh",
        "2",
        "--config=configs/base.py",
        "--config.num_epochs=60",
        "--config.bookkeeping.chunk_seconds=0.02",
        "--config.bookkeeping.tensorboard=False",
        f"--workdir={tmp_path}",
        f"--data_dir={data_dir}",
      ],
      cwd=ROOT,
      env={**clean_environment(), "PYTHON": sys.executable},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  process = start()
  rows = tmp_path / "metrics.jsonl"
  limit = time.monotonic() + 300
  while not rows.exists() or rows.read_text().count("\n") < 3:
    assert process.poll() is None and time.monotonic() < limit
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  said, _ = process.communicate(timeout=300)
  assert process.returncode == 75, said
  process = start()
  said, _ = process.communicate(timeout=300)
  assert process.returncode == 0, said
  assert "resuming at step" in said
  assert runs.read(tmp_path).status["processes"] == 2
