import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rethink import errors
from rethink.pipeline import datasets
from rethink.prepare import exclusive
from tests import conftest

_HOLD = """
import sys, time
from rethink.prepare import exclusive
with exclusive.one_preparer("mine", sys.argv[1]):
  print("held", flush=True)
  time.sleep(300)
"""


@pytest.fixture
def holder(tmp_path):
  """A process that holds the lock of `mine` in tmp_path."""
  process = subprocess.Popen(
    [sys.executable, "-c", _HOLD, str(tmp_path)],
    cwd=conftest.ROOT,
    env=conftest.clean_environment(),
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout and process.stdout.readline() == "held\n"
  yield process
  process.kill()
  process.communicate()


def _prepare(data_dir, *args):
  return subprocess.Popen(
    [
      sys.executable,
      "-m",
      "rethink.prepare",
      *args,
      f"--data_dir={data_dir}",
    ],
    cwd=conftest.ROOT,
    env=conftest.clean_environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_who_waits_says_so_and_gets_the_lock_of_a_killed_process(
  holder, tmp_path
):
  waiter = subprocess.Popen(
    [sys.executable, "-c", _HOLD, str(tmp_path)],
    cwd=conftest.ROOT,
    env=conftest.clean_environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert waiter.stdout and waiter.stderr
  assert waiter.stderr.readline() == (
    "rethink: waiting for another process that prepares 'mine'\n"
  )
  assert not select.select([waiter.stdout], [], [], 0.3)[0]  # and waits
  holder.kill()
  assert holder.wait() == -signal.SIGKILL
  assert waiter.stdout.readline() == "held\n"
  waiter.kill()
  waiter.communicate()


def test_the_lock_of_one_data_set_is_not_that_of_another(holder, tmp_path):
  with exclusive.one_preparer("other", str(tmp_path)):
    assert holder.poll() is None


def test_a_lock_is_given_back(tmp_path):
  for _ in range(2):
    with pytest.raises(KeyError), exclusive.one_preparer("a/b", str(tmp_path)):
      raise KeyError


def test_a_lock_that_cannot_be_had_is_a_fault_of_the_data(tmp_path):
  (tmp_path / "file").write_text("")
  with (
    pytest.raises(errors.DataError, match=r"file.*mine\.lock"),
    exclusive.one_preparer("mine", str(tmp_path / "file")),
  ):
    pass


def test_two_at_once_prepare_once(tmp_path):
  # F28: one prepares, the other waits and finds it there.
  both = [_prepare(tmp_path, "digits") for _ in range(2)]
  said = [process.communicate(timeout=120) for process in both]
  assert [process.returncode for process in both] == [0, 0], said
  (line,) = {out.splitlines()[-1] for out, _ in said}
  assert line.startswith("digits 1.0.0: train 1500, test 297; fingerprint")
  assert [p.name for p in (tmp_path / "digits").iterdir()] == ["1.0.0"]


def test_a_waiter_takes_over_from_a_killed_preparer(tmp_path):
  first = _prepare(tmp_path, "digits")
  while not list((tmp_path / "digits").glob("incomplete.*")):
    assert first.poll() is None
    time.sleep(0.001)
  first.send_signal(signal.SIGSTOP)  # in the middle of it
  assert not (tmp_path / "digits" / "1.0.0").exists()
  second = _prepare(tmp_path, "digits")
  assert second.stderr and "waiting" in second.stderr.readline()
  # The folder of a preparer that is alive is not swept away.
  assert list((tmp_path / "digits").glob("incomplete.*"))
  first.kill()
  first.communicate()
  _, err = second.communicate(timeout=120)
  assert second.returncode == 0, err
  assert datasets.load("digits", str(tmp_path)).info.splits["train"] == 1500
  assert [p.name for p in (tmp_path / "digits").iterdir()] == ["1.0.0"]


def test_images_of_ones_own_are_never_taken_for_what_is_there(tmp_path):

  images, labels = np.zeros((4, 3, 3), np.uint8), np.arange(4)
  np.savez(
    tmp_path / "a.npz",
    x_train=images,
    y_train=labels,
    x_test=images,
    y_test=labels,
  )
  both = [_prepare(tmp_path, "mine", f"--npz={tmp_path}/a.npz") for _ in "ab"]
  said = [process.communicate(timeout=120) for process in both]
  assert sorted(process.returncode for process in both) == [0, 4], said
  assert "delete that folder first" in said[0][1] + said[1][1]
