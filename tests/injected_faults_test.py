"""Every call to the file system fails once; disks that are really full.

The faults come from a library that the tests build where a C compiler is.
"""

import errno
import os
import random
import shutil
import subprocess
import sys

import pytest

from rethink.storage import runs
from tests.conftest import ROOT, clean_environment
from tests.faults_test import _finish, _start
from tests.method_train_test import end

_NUMBERS = (errno.EIO, errno.ENOSPC, errno.EROFS)
_CASES = (f"{errno.EIO}:0", f"{errno.ENOSPC}:1")  # the second one stays

# A run directory's life, in the storage layer alone, with each call failing.
_LIFE = """
import contextlib, ctypes, io, pathlib, shutil, sys
from rethink import errors
from rethink.storage import locks, ownership, provenance, runs
facts = provenance.read()
provenance.read = lambda *_: facts  # which asks git
faults, root = ctypes.CDLL(sys.argv[1]), pathlib.Path(sys.argv[2])
cases = [tuple(map(int, case.split(":"))) for case in sys.argv[3:]]
examples = {name: [0] for name in runs.EXAMPLES}
results = dict(
  device="cpu", devices=1, parameters=1, data={"train": 1},
  corruption={"changed_fraction": 0.0}, step=1, epoch=0,
)

def life(folder):
  with locks.acquire(folder) as lock:
    run = runs.Run(folder, {"seed": 0}, {}, check_lock=lock.check)
    if run.done:
      return
    run.start()
    run.check_data({"name": "d", "fingerprint": "f"})
    run.cut()
    run.log({"step": 1, "epoch": 0, "x": 1.0})
    run.log_examples(1, examples)
    run.log_curve("c", y=[1])
    run.update(state="done", **results)

count = injected = 0
for number, lasting in cases:
  for call in range(400):
    folder = root / f"{number}-{lasting}-{call}"
    faults.arm(call, number, lasting, str(folder).encode())
    said = None
    try:
      life(folder)
    except errors.RethinkError as error:
      said = str(error)
      assert str(folder) in said, said
    over = faults.remaining() > 0
    faults.arm(-1, 0, 0, b"")
    if over:
      assert said is None
      break
    injected += 1
    runs.read(folder)
    if folder.exists():
      assert ownership.owner(folder) is not ownership.Owner.SOMEBODY
    # A lock that could not be deleted is free once its process has ended.
    (folder / "lock.json").unlink(missing_ok=True)
    life(folder)  # the same command again
    assert runs.read(folder).status["state"] == "done"
    shutil.rmtree(folder)
  else:
    raise AssertionError("the life of a run has no end")
print(injected)
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> str:
  """The library that makes calls fail."""
  compiler = shutil.which("cc") or shutil.which("gcc")
  if not compiler or sys.platform != "linux":
    pytest.skip("no C compiler")
  path = tmp_path_factory.mktemp("faults") / "faults.so"
  source = str(ROOT / "tests/data/faults.c")
  subprocess.run(
    [compiler, "-shared", "-fPIC", "-w", "-o", path, source, "-ldl"], check=True
  )
  return str(path)


def test_every_call_of_the_storage_layer_fails_once(tmp_path, library):
  done = subprocess.run(
    [sys.executable, "-c", _LIFE, library, str(tmp_path), *_CASES],
    cwd=ROOT,
    env={**clean_environment(), "LD_PRELOAD": library},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert int(done.stdout.split()[-1]) > 50


@pytest.mark.slow
def test_a_run_that_meets_errors_ends_in_the_same_bits(
  tmp_path, data_dir, library
):
  draw, whole = random.Random(0), tmp_path / "whole"
  _finish(_start(whole, data_dir, 12))
  for i in range(5):  # some 20 s each
    workdir = tmp_path / str(i)
    number, lasting = draw.choice(_NUMBERS), draw.choice((0, 1))
    fault = f"{draw.randrange(600)}:{number}:{lasting}:{workdir}"
    process = _start(
      workdir, data_dir, 12, LD_PRELOAD=library, RETHINK_FAULT=fault
    )
    said, _ = process.communicate(timeout=300)
    assert "Traceback" not in said, (fault, said)
    assert process.returncode in (0, 1, 2, 4), (fault, said)
    _finish(_start(workdir, data_dir, 12))
    assert end(workdir) == end(whole), fault


@pytest.fixture
def small_disk(tmp_path):
  """A disk of 400 kB, and a function that makes room on it."""
  folder = tmp_path / "disk"
  folder.mkdir()
  command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
  try:
    done = subprocess.run(command, capture_output=True)
  except OSError:
    pytest.skip("no mount")
  if done.returncode:
    pytest.skip("no rights to mount a tmpfs")

  def make_room():
    again = ["mount", "-o", "remount,size=64m", str(folder)]
    subprocess.run(again, check=True)

  yield folder, make_room
  subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_is_one_sentence_and_costs_no_bit(
  small_disk, tmp_path, data_dir
):
  disk, make_room = small_disk
  args = (
    "--config.bookkeeping.checkpoint_every_epochs=1",
    "--config.bookkeeping.checkpoints_to_keep=9",
    "--config.bookkeeping.tensorboard=True",
  )
  process = _start(disk / "run", data_dir, 20, *args)
  said, _ = process.communicate(timeout=300)
  assert process.returncode == 1, said
  assert "Traceback" not in said and "E1" not in said
  last = said.strip().splitlines()[-1]
  assert last.startswith(f"rethink: a checkpoint could not be saved in {disk}")
  assert last.endswith("make room and run the same command again")
  assert not (disk / "run/lock.json").exists()
  make_room()
  _finish(_start(disk / "run", data_dir, 20, *args))
  assert runs.read(disk / "run").status["state"] == "done"


def test_a_disk_that_is_full_from_the_start_leaves_nothing(
  small_disk, data_dir
):
  disk, make_room = small_disk
  with pytest.raises(OSError):
    with open(disk / "filler", "wb") as file:
      file.write(bytes(2**20))
  (disk / "run").mkdir()
  from rethink import errors
  from rethink.storage import locks

  with pytest.raises(errors.ConfigError, match="No space left"):
    with locks.acquire(disk / "run"):
      pass
  assert os.listdir(disk / "run") == []
  make_room()
  with locks.acquire(disk / "run"):
    pass
