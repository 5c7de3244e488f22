"""Runs of several processes: real ones on loopback, really killed."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import distributed, errors
from rethink.pipeline import resident
from rethink.storage import runs
from tests.conftest import ROOT, clean_environment, random_examples
from tests.faults_test import _ARGS
from tests.method_train_test import end

_SECONDS = 300  # a shared machine may be slow; nothing waits that long


def _free_port() -> int:
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1]


def _start(
  count: int, *args: str, of_second: list[str] | None = None, **flags
) -> list[subprocess.Popen]:
  """Starts processes that meet each other; flags override how.

  Args:
    count: of processes.
    *args: of Python.
    of_second: further arguments of process 1 alone.
    **flags: of how they meet.
  """
  flags = {
    "coordinator": f"127.0.0.1:{_free_port()}",
    "num_processes": count,
    "initialization_timeout": 240,
    "heartbeat_timeout": 30,  # a shared machine may not run for a while
    **flags,
  }
  common = [f"--{name}={value}" for name, value in flags.items()]
  return [
    subprocess.Popen(
      [
        *(
          sys.executable,
          *args,
          *common,
          *((of_second or []) if i == 1 else []),
        ),
        f"--process_id={i}",
      ],
      cwd=ROOT,
      env={**clean_environment(), "PYTHONPATH": str(ROOT)},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for i in range(count)
  ]


def _train(workdir, data_dir, *args: str, count=2, **flags):
  return _start(
    count,
    *("-m", "rethink.main", *_ARGS, "--config.num_epochs=40"),
    *("--config.bookkeeping.checkpoint_every_seconds=0.5", *args),
    *(f"--workdir={workdir}", f"--data_dir={data_dir}"),
    **flags,
  )


def _finish(processes, *codes: int) -> list[str]:
  """Returns what each has said, once all have ended with these exit codes."""
  said = [p.communicate(timeout=_SECONDS)[0] for p in processes]
  for process, code in zip(processes, codes, strict=True):
    assert process.returncode == code, "\n\n".join(said)
  return said


def _await_rows(workdir, rows: int, processes) -> None:
  path = workdir / "metrics.jsonl"
  limit = time.monotonic() + _SECONDS
  while not path.exists() or path.read_text().count("\n") < rows:
    assert all(p.poll() is None for p in processes), _finish(processes, 0, 0)
    assert time.monotonic() < limit, "the run does not get on"
    time.sleep(0.02)


# What each of two processes does in the test below it.
_PROBE = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from absl import flags
from rethink import distributed, errors
from rethink.pipeline import resident
from tests.conftest import random_examples  # two devices for each process

distributed.join(
  sys.argv[1].split("=")[1], 2, int(sys.argv[-1].split("=")[1]), 240, 30
)
me, out = jax.process_index(), {}
out["gathered"] = distributed.all_gather(
  {"process": me, "text": "x" * 99 * me}, "test"
)
out["now"] = distributed.now()
looks = ("SIGTERM" if me else None, None)
out["any"] = [distributed.any_of(name) for name in looks]
try:
  distributed.require_equal({"config": "same", "data": f"of {me}"}, "test")
except errors.ConfigError as error:
  out["refused"] = str(error)
try:
  distributed.all_gather(me, "clock" if me else "signal")
except errors.RethinkError as error:
  out["out of step"] = str(error)
try:
  with distributed.together("open the data"):
    if me:
      raise errors.DataError("no shards")
except errors.RethinkError as error:
  out["together"] = [str(error), error.exit_code]

replicated, sharded = resident.shardings()
odd = np.array([-0.0, np.nan, 1e-45, np.inf], np.float32)
like = jax.jit(
  lambda: {"odd": jnp.ones(4), "step": jnp.int32(0)}, out_shardings=replicated
)()
tree = {"odd": odd, "step": np.int32(7)} if me == 0 else None
tree = distributed.broadcast(tree, like)
out["none"] = distributed.broadcast(None, like)
assert tree["odd"].sharding == replicated
out["bits"] = distributed.local_copy(tree)["odd"].tobytes().hex()
out["step"] = int(tree["step"])

examples = random_examples(101)
data = resident.put(examples, replicated)
take = jax.jit(lambda data, index: resident.gather(data, index, sharded))
key, out["batches"] = jax.random.key(3), []
for epoch in range(2):
  order = resident.epoch_order(key, jnp.int32(epoch), 101)
  for start in range(0, 101, 16):
    batch = take(data, order[start : start + 16])
    out["batches"].append([
      (s.index[0].start, [x.tobytes().hex()[:16] for x in np.asarray(s.data)])
      for s in batch.image.addressable_shards
    ])
print("out:" + json.dumps(out), file=sys.stderr)
distributed.leave(0)
"""


def test_two_processes_decide_alike_and_share_the_batches_of_one():
  processes = _start(2, "-c", _PROBE)
  said = _finish(processes, 0, 0)
  one, two = (
    json.loads(text.partition("out:")[2].split("\n")[0]) for text in said
  )
  assert one["gathered"] == two["gathered"]
  assert [len(x["text"]) for x in one["gathered"]] == [0, 99]
  assert one["now"] == two["now"]
  assert one["any"] == two["any"] == ["SIGTERM", None]
  for out in (one, two):
    assert "differ in data" in out["refused"]
    assert "'clock'" in out["out of step"] and "'signal'" in out["out of step"]
    assert out["together"][1] == errors.DataError.exit_code
    odd = np.array([-0.0, np.nan, 1e-45, np.inf], np.float32)
    assert out["bits"] == odd.tobytes().hex()
    assert out["step"] == 7 and out["none"] is None

  assert two["together"][0] == "no shards"
  assert one["together"][0] == (
    "process 1 of this run could not open the data: DataError: no shards"
  )
  examples, batch = random_examples(101), 0
  for epoch in range(2):
    order = np.asarray(
      resident.epoch_order(jax.random.key(3), jnp.int32(epoch), 101)
    )
    for start in range(0, 101, 16):
      images = examples.image[order[start : start + 16]]
      wanted = [x.tobytes().hex()[:16] for x in images]
      shards = one["batches"][batch] + two["batches"][batch]
      if len(wanted) == 16:  # a quarter for each device, in their order
        assert [at for at, _ in shards] == [0, 4, 8, 12]
        assert [x for _, part in shards for x in part] == wanted
      else:  # not divided by the devices: each computes all of it
        assert [part for _, part in shards] == [wanted] * 4
      batch += 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data_dir) -> pathlib.Path:
  """An unbroken run of two processes."""
  workdir = tmp_path_factory.mktemp("whole")
  first, second = _finish(_train(workdir, data_dir), 0, 0)
  assert "base/default" in first and "base/default" not in second
  return workdir


@pytest.mark.slow
def test_two_processes_train_like_one(whole, tmp_path, data_dir):
  _finish(_train(tmp_path, data_dir, count=1), 0)
  one, two = runs.read(tmp_path), runs.read(whole)
  assert (two.status["processes"], two.status["devices"]) == (2, 2)
  assert one.status["processes"] == 1
  assert two.config["fingerprint"] == one.config["fingerprint"]
  assert [r["step"] for r in one.rows] == [r["step"] for r in two.rows]
  for a, b in zip(one.rows[:10], two.rows[:10], strict=True):
    for key in ("train/loss", "test/loss", "batch/loss"):
      assert a[key] == pytest.approx(b[key], rel=1e-4), key


@pytest.mark.slow
def test_sigterm_at_one_of_two_processes_saves_once_and_both_exit_75(
  whole, tmp_path, data_dir
):
  broken = tmp_path / "broken"
  processes = _train(broken, data_dir)
  _await_rows(broken, 5, processes)
  processes[1].send_signal(signal.SIGTERM)
  first, second = _finish(processes, 75, 75)
  assert "SIGTERM: saved step" in first and "SIGTERM: saved step" in second
  assert (
    first.partition("saved step ")[2].split()[0]
    == (second.partition("saved step ")[2].split()[0])
  )
  assert runs.read(broken).status["state"] == "preempted"
  shutil.copytree(broken, tmp_path / "alone")
  first, _ = _finish(_train(broken, data_dir), 0, 0)
  assert "resuming at step" in first
  assert end(broken) == end(whole)
  # And with another number of processes and devices: only rounding differs.
  (text,) = _finish(_train(tmp_path / "alone", data_dir, count=1), 0)
  assert "resuming at step" in text
  a, b = (runs.read(w).rows[9] for w in (tmp_path / "alone", whole))
  assert a["train/loss"] == pytest.approx(b["train/loss"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("victim", "name"), [(0, "SIGKILL"), (1, "SIGKILL"), (1, "SIGSTOP")]
)
def test_f30_one_of_two_dies_or_hangs_and_the_other_ends_in_bounded_time(
  whole, tmp_path, data_dir, victim, name
):
  processes = _train(tmp_path, data_dir)
  _await_rows(tmp_path, 5, processes)
  processes[victim].send_signal(getattr(signal, name))
  survivor = processes[1 - victim]
  survivor.communicate(timeout=150)  # heartbeats end after 30 s
  assert survivor.returncode not in (0, 75)
  processes[victim].kill()
  processes[victim].communicate()
  first, _ = _finish(_train(tmp_path, data_dir), 0, 0)
  assert "resuming at step" in first
  assert end(tmp_path) == end(whole)


@pytest.mark.slow
def test_f30_a_process_that_comes_too_late_is_not_waited_for(
  tmp_path, data_dir
):
  (said,) = _finish(
    _train(
      tmp_path, data_dir, count=1, num_processes=2, initialization_timeout=5
    ),
    1,
  )
  assert "not all processes of this run have joined" in said
  assert "Traceback" not in said and not os.listdir(tmp_path)


@pytest.mark.slow
def test_f30_a_process_that_fails_by_itself_keeps_its_exit_code(
  tmp_path, data_dir
):
  processes = _train(tmp_path, f"{tmp_path}/no data")
  said = [p.communicate(timeout=_SECONDS)[0] for p in processes]
  assert [p.returncode for p in processes] == [4, 4], said
  assert all("python -m rethink.prepare" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize(
  "field",
  ["chunk_seconds=9", "checkpoint_every_epochs=7", "checkpoints_to_keep=9"],
)
def test_processes_that_would_decide_otherwise_are_refused(
  tmp_path, data_dir, field
):
  args = [f"--config.bookkeeping.{field}"]
  said = _finish(_train(tmp_path, data_dir, of_second=args), 2, 2)
  name = field.partition("=")[0]
  assert all(f"differ in config.bookkeeping.{name}" in text for text in said)
  assert not any("Traceback" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("fault", "code"), [("--platform=gpu", 2), ("--data_dir=nowhere", 4)]
)
def test_f30_when_one_refuses_at_the_start_the_other_says_so(
  tmp_path, data_dir, fault, code
):
  said = _finish(_train(tmp_path, data_dir, of_second=[fault]), code, code)
  assert "process 1 of this run could not" in said[0]
  assert not any("Traceback" in text for text in said)


def test_values_of_another_kind_are_an_error_with_both_names():
  with pytest.raises(errors.RethinkError, match="'signal', process 1 'clock'"):
    distributed._untag([("signal", None), ("clock", 3.5)], "signal")
  assert distributed._untag([("x", 1), ("x", 2)], "x") == [1, 2]


@pytest.mark.parametrize(
  "flags", [("h:1", None, None), (None, 2, 0), ("h:1", 2, None)]
)
def test_half_of_the_flags_is_refused(flags):
  with pytest.raises(errors.ConfigError, match="--process_id go together"):
    distributed.join(*flags, 5, 5)


def test_one_process_alone_looks_for_nobody(monkeypatch):
  monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
  distributed.join(None, 1, None, 5, 5)
  monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
  distributed.join(None, None, None, 5, 5)
  assert not jax.distributed.is_initialized()


@pytest.mark.parametrize(
  "name", ["SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"]
)
def test_schedulers_say_that_there_are_several(monkeypatch, name):
  asked = {}
  monkeypatch.setenv(name, "4")
  monkeypatch.setattr(
    jax.distributed, "initialize", lambda *a, **kw: asked.update(kw, a=a)
  )
  distributed.join(None, None, None, 7, 5)
  assert asked["a"] == (None, None, None)
  assert asked["cluster_detection_method"] is None
  assert asked["heartbeat_timeout_seconds"] == 5


def test_what_the_cluster_does_not_know_is_one_sentence(monkeypatch):
  def fail(*_, **__):
    raise RuntimeError("no address\nand more")

  monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
  monkeypatch.setattr(jax.distributed, "initialize", fail)
  with pytest.raises(errors.ConfigError, match="cannot meet: no address;"):
    distributed.join(None, None, None, 7, 5)
