"""Run directories in a bucket, against an emulator on loopback."""

import http
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from rethink import errors
from rethink.methods import runner
from rethink.storage import (
  bucket_locks,
  buckets,
  locks,
  runs,
  step_folders,
)
from tests.conftest import ROOT, clean_environment
from tests.faults_test import _ARGS
from tests.method_train_test import StopAfter, end

_WORKDIR = "gs://runs/a/run"
_LEFT = '{"token": "t7", "pid": 7, "host": "x"}'


@pytest.fixture(scope="module")
def address():
  """Yields the address of an emulator that also knows preconditions."""
  pytest.importorskip("google.cloud.storage")
  server = pytest.importorskip("gcp_storage_emulator.server")
  from gcp_storage_emulator.exceptions import NotFound
  from gcp_storage_emulator.handlers import objects

  original, one_at_a_time = objects._multipart_upload, threading.Lock()

  def conditional(request, response, stored, *args, **kwargs):
    (wanted,) = request.query.get("ifGenerationMatch") or [None]
    where = request.params["bucket_name"], request.data["meta"]["name"]
    with one_at_a_time:
      try:
        found = stored.get_file_obj(*where)["generation"]
      except NotFound:
        found = "0"
      if wanted not in (None, found):
        response.status = http.HTTPStatus.PRECONDITION_FAILED
        return None
      return original(request, response, stored, *args, **kwargs)

  objects._multipart_upload = conditional
  emulator = server.create_server(
    "127.0.0.1", 0, in_memory=True, default_bucket="runs"
  )
  try:
    emulator.start()
    port = emulator._api._httpd.socket.getsockname()[1]
    yield f"http://127.0.0.1:{port}"
  finally:
    emulator.stop()
    objects._multipart_upload = original


@pytest.fixture
def bucket(address, monkeypatch):
  """An empty bucket, as the client of a run sees it."""
  monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
  monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
  bucket, _ = buckets._open(_WORKDIR)
  for blob in bucket.list_blobs():
    blob.delete()
  return bucket


def _names(bucket) -> set[str]:
  return {blob.name.removeprefix("a/run/") for blob in bucket.list_blobs()}


def test_a_run_in_a_bucket_goes_on_on_another_machine(
  bucket, config, tmp_path, data_dir
):
  config.bookkeeping.chunk_seconds = 1e-9
  with (
    pytest.raises(errors.PreemptedError),
    buckets.local(_WORKDIR) as first,
  ):
    runner.execute(config, first, data_dir, StopAfter(11))
  assert not pathlib.Path(first).exists()
  assert {"config.json", "status.json", "metrics.jsonl"} < _names(bucket)
  with buckets.local(_WORKDIR) as second:
    assert second != first
    assert runs.read(second).status["state"] == "preempted"
    runner.execute(config, second, data_dir, StopAfter())
    here = pathlib.Path(second)
    wanted = {str(p.relative_to(here)) for p in here.rglob("*") if p.is_file()}
    found = end(second)
  runner.execute(config, str(tmp_path), data_dir, StopAfter())
  assert found == end(tmp_path)
  assert _names(bucket) == wanted  # old states have gone, the lock as well
  with buckets.local(_WORKDIR) as third:
    assert end(third) == found


def test_files_are_carried_in_a_safe_order_and_only_whole_states(
  bucket, tmp_path, monkeypatch
):
  mirror = buckets._Mirror(bucket, "a/run", tmp_path)
  for name in (
    "status.json",
    "metrics.jsonl",
    "checkpoints/7/d",
    "checkpoints/7/manifest.json",
    "checkpoints/9/d",
    "checkpoints/8.orbax-checkpoint-tmp/manifest.json",
    "config.json.partial",
    "lock.json",
  ):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(name)
  order = []
  blob = type(bucket.blob("x"))
  delete = blob.delete

  def recorded(upload):
    def record(self, what):
      order.append(self.name.removeprefix("a/run/"))
      upload(self, what)

    return record

  def forget(self):
    order.append("-" + self.name.removeprefix("a/run/"))
    delete(self)

  for name in ("upload_from_filename", "upload_from_string"):
    monkeypatch.setattr(blob, name, recorded(getattr(blob, name)))
  monkeypatch.setattr(blob, "delete", forget)
  mirror.push()
  state = ["checkpoints/7/d", "checkpoints/7/manifest.json"]
  assert order == ["metrics.jsonl", *state, "status.json"]
  mirror.push()
  assert len(order) == 4  # nothing has changed
  (tmp_path / "checkpoints/7").rename(tmp_path / "checkpoints/7.deleted")
  (tmp_path / "checkpoints/9/manifest.json").write_text("9")
  mirror.push()
  assert order[4:] == [
    "checkpoints/9/d",
    "checkpoints/9/manifest.json",
    "-checkpoints/7/manifest.json",
    "-checkpoints/7/d",
  ]


def test_what_was_damaged_on_two_machines_stays_in_the_bucket(bucket):
  for text in ("first", "second"):
    with buckets.local(_WORKDIR) as folder:
      runs.Run(folder, {"seed": 0}, {}).start()
      state = pathlib.Path(folder, "checkpoints", "5")
      state.mkdir(parents=True)
      (state / "d").write_text(text)
      step_folders.set_aside(state)
  assert _names(bucket) == {
    "config.json",
    "status.json",
    "damaged/checkpoints-5.1/d",
    "damaged/checkpoints-5.2/d",
  }


def test_a_folder_of_somebody_else_is_refused_before_a_byte(bucket):
  bucket.blob("a/run/model/weights.bin").upload_from_string("theirs")
  bucket.blob("a/run/config.json").upload_from_string('{"layers": 3}')
  with pytest.raises(errors.ConfigError, match=r"gs://runs/a/run .*'config"):
    with buckets.local(_WORKDIR):
      pass
  assert _names(bucket) == {"model/weights.bin", "config.json"}
  bucket.blob("a/run/config.json").delete()
  bucket.blob("a/run/model/weights.bin").delete()
  with buckets.local(_WORKDIR) as folder:
    runs.Run(folder, {"seed": 0}, {}).start()


def test_a_name_that_leaves_the_folder_is_refused(tmp_path):
  # The emulator refuses to store such a name, a bucket does not.
  blob = types.SimpleNamespace(name="a/run/../x")
  climbing = types.SimpleNamespace(
    name="runs", list_blobs=lambda prefix: [blob]
  )
  with pytest.raises(errors.ConfigError, match="is no name of a run's file"):
    buckets._Mirror(climbing, "a/run", tmp_path).fetch()
  assert not list(tmp_path.iterdir())


def test_f29_a_second_machine_is_refused_by_name(bucket, monkeypatch):
  monkeypatch.setattr(bucket_locks, "WAIT_SECONDS", 0.0)
  with buckets.local(_WORKDIR):
    with pytest.raises(
      errors.ConfigError, match=rf"in use by process {os.getpid()} on "
    ):
      with buckets.local(_WORKDIR):
        pass
  with buckets.local(_WORKDIR):
    pass


def test_f29_a_silent_machine_loses_its_run_and_changes_nothing_more(
  bucket, monkeypatch
):
  monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.2)
  with (
    pytest.raises(errors.RethinkError, match="was taken over by another"),
    buckets.local(_WORKDIR) as first,
  ):
    with locks.acquire(first) as lock:
      lock.check()
      monkeypatch.setattr(locks, "STALE_SECONDS", -1.0)
      with buckets.local(_WORKDIR) as second:
        limit = time.monotonic() + 60
        with pytest.raises(locks.LostError, match="was taken over by process"):
          while time.monotonic() < limit:
            lock.check()
            time.sleep(0.05)
        pathlib.Path(second, "metrics.jsonl").write_text("new")
    pathlib.Path(first, "metrics.jsonl").write_text("old")
  assert bucket.blob("a/run/metrics.jsonl").download_as_text() == "new"


def test_f29_a_machine_that_was_frozen_while_it_carried_stops_at_once(
  bucket, tmp_path, monkeypatch
):
  monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 60.0)  # it does not beat
  mirror = buckets._Mirror(bucket, "a/run", tmp_path)
  for name in ("a", "b", "c"):
    (tmp_path / name).write_text("1")
  asked = []
  with bucket_locks.BucketLock(bucket, "a/run", tmp_path) as lease:

    def check():
      if asked:  # frozen after the first file
        lock = bucket.get_blob("a/run/lock.json")
        lock.upload_from_string('{"token": "other"}')
        lease._written -= 1e6
      asked.append(1)
      lease.check()

    with pytest.raises(locks.LostError, match="taken over"):
      mirror.push(check)
    with pytest.raises(locks.LostError, match="taken over"):
      lease.check()
  assert _names(bucket) == {"a", "lock.json"}


def test_f29_a_machine_that_lost_its_run_says_so_also_with_nothing_to_carry(
  bucket,
):
  with pytest.raises(locks.LostError, match="was taken over by another"):
    with buckets.local(_WORKDIR):
      bucket.blob("a/run/lock.json").upload_from_string('{"token": "other"}')


def test_f29_of_many_that_take_over_one_wins(bucket, tmp_path, monkeypatch):
  bucket.blob("a/run/lock.json").upload_from_string(
    '{"token": "t", "pid": 1, "host": "x"}'
  )
  barrier, won = threading.Barrier(8), []
  held = bucket.get_blob("a/run/lock.json").generation

  def take():
    lease = bucket_locks.BucketLock(bucket, "a/run", tmp_path)
    barrier.wait()
    if lease._write(held):
      won.append(lease._text)

  threads = [threading.Thread(target=take) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  (winner,) = won
  assert bucket.blob("a/run/lock.json").download_as_text() == winner


def test_a_bucket_without_a_folder_is_refused():
  with pytest.raises(errors.ConfigError, match="must be gs://BUCKET/FOLDER"):
    with buckets.local("gs://runs"):
      pass


def test_last_changes_that_do_not_arrive_are_an_error(bucket, monkeypatch):
  def fail(self, path):
    raise OSError("503")

  monkeypatch.setattr("rethink.storage.retries.WAITS", ())
  monkeypatch.setattr(type(bucket.blob("x")), "upload_from_filename", fail)
  with pytest.raises(errors.RethinkError, match="lacks the last changes: 503"):
    with buckets.local(_WORKDIR) as folder:
      pathlib.Path(folder, "metrics.jsonl").write_text("{}")


def test_f29_a_new_process_waits_for_a_lock_that_is_left_behind(
  bucket, monkeypatch, capsys
):
  monkeypatch.setattr(locks, "STALE_SECONDS", 0.6)
  monkeypatch.setattr(bucket_locks, "_POLL_SECONDS", 0.1)
  bucket.blob("a/run/lock.json").upload_from_string(_LEFT)
  with buckets.local(_WORKDIR):
    pass
  said = capsys.readouterr().err
  assert said.count("is in use by process 7 on x, last seen") == 1
  assert "gs://runs/a/run is taken over from process 7 on x" in said
  assert not _names(bucket)


def test_f29_a_new_process_waits_for_one_that_is_leaving(bucket, monkeypatch):
  monkeypatch.setattr(bucket_locks, "_POLL_SECONDS", 0.1)
  held = bucket.blob("a/run/lock.json")
  held.upload_from_string("not JSON")
  leaving = threading.Timer(0.5, held.delete)
  leaving.start()
  with buckets.local(_WORKDIR):
    assert not leaving.is_alive()


def test_f29_a_lock_that_has_vanished_ends_the_run(bucket, tmp_path):
  with bucket_locks.BucketLock(bucket, "a/run", tmp_path) as lease:
    with locks.acquire(tmp_path) as lock:
      assert lease.renew()
      bucket.blob("a/run/lock.json").delete()
      assert not lease.renew() and lease.lost
      with pytest.raises(locks.LostError):
        lock.check()


def test_what_has_vanished_from_the_bucket_or_the_disk_stops_no_push(
  bucket, tmp_path, monkeypatch
):
  monkeypatch.setattr("rethink.storage.retries.WAITS", ())
  mirror = buckets._Mirror(bucket, "a/run", tmp_path)
  for name in ("a", "b", "c"):
    (tmp_path / name).write_text("1")
  mirror.push()
  bucket.blob("a/run/a").delete()
  (tmp_path / "a").unlink()
  (tmp_path / "c").write_text("22")
  whole = mirror._complete_files

  def and_gone():
    found = whole()
    (tmp_path / "b").unlink(missing_ok=True)
    return {**found, "b": (2, 2)}

  with monkeypatch.context() as patch:
    patch.setattr(mirror, "_complete_files", and_gone)
    mirror.push()
  assert bucket.blob("a/run/c").download_as_text() == "22"
  mirror.push()
  assert _names(bucket) == {"c"}


def test_the_status_in_the_bucket_tells_of_nothing_that_is_not_there(
  bucket, tmp_path, monkeypatch
):
  mirror = buckets._Mirror(bucket, "a/run", tmp_path)
  (tmp_path / "status.json").write_text("running")
  whole = mirror._complete_files

  def and_on():  # the run ends just after the files were looked for
    found = whole()
    (tmp_path / "status.json").write_text("done, see the last row")
    return found

  monkeypatch.setattr(mirror, "_complete_files", and_on)
  mirror.push()
  assert bucket.blob("a/run/status.json").download_as_text() == "running"
  monkeypatch.undo()
  mirror.push()
  assert "done" in bucket.blob("a/run/status.json").download_as_text()


@pytest.mark.parametrize(
  ("answer", "code"), [("Forbidden", 2), ("ServiceUnavailable", 1)]
)
def test_a_bucket_that_refuses_is_one_sentence(
  bucket, monkeypatch, answer, code
):
  exceptions = pytest.importorskip("google.api_core.exceptions")

  def refuse(*args, **kwargs):
    raise getattr(exceptions, answer)("no storage.objects.create\nat all")

  monkeypatch.setattr(type(bucket.blob("x")), "upload_from_string", refuse)
  with pytest.raises(
    errors.RethinkError, match=r"run cannot be used: .*objects\.create$"
  ) as caught:
    with buckets.local(_WORKDIR):
      pass
  assert caught.value.exit_code == code


def _start(workdir, copies, data_dir, epochs, setting="pass"):
  """A run that carries what is new at once; `setting` is a line of Python."""
  code = f"""import runpy, rethink.storage.buckets as s
s._PUSH_SECONDS = 0.1
{setting}
runpy.run_module('rethink.main', run_name='__main__')"""
  return subprocess.Popen(
    [
      sys.executable,
      "-c",
      code,
      *_ARGS,
      f"--config.num_epochs={epochs}",
      f"--workdir={workdir}",
      f"--data_dir={data_dir}",
    ],
    cwd=ROOT,
    env={**clean_environment(), "TMPDIR": str(copies)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def test_a_signal_saves_carries_all_to_the_bucket_and_exits_75(
  bucket, tmp_path, data_dir
):
  process = _start(_WORKDIR, tmp_path, data_dir, 400)
  limit = time.monotonic() + 120
  while not any(n.endswith("manifest.json") for n in _names(bucket)):
    assert process.poll() is None and time.monotonic() < limit
    time.sleep(0.05)
  assert "lock.json" in _names(bucket)
  process.send_signal(signal.SIGTERM)
  said, _ = process.communicate(timeout=120)
  assert process.returncode == 75, said
  status = json.loads(bucket.blob("a/run/status.json").download_as_text())
  assert status["state"] == "preempted"
  (saved,) = re.findall(r"saved step (\d+) of", said)
  assert f"checkpoints/{saved}/manifest.json" in _names(bucket)
  assert "lock.json" not in _names(bucket)
  assert not list(tmp_path.iterdir())  # no copy stays behind


@pytest.mark.slow
def test_f1_a_run_in_a_bucket_killed_and_gone_with_its_disk_goes_on(
  bucket, address, tmp_path, data_dir
):
  def start(workdir):
    return _start(workdir, tmp_path, data_dir, 80, "s.locks.STALE_SECONDS = 1")

  process = start(_WORKDIR)
  limit = time.monotonic() + 300
  while not any(n.endswith("manifest.json") for n in _names(bucket)):
    assert process.poll() is None and time.monotonic() < limit
    time.sleep(0.1)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  process = start(_WORKDIR)  # at once: it waits for the lock
  said, _ = process.communicate(timeout=300)
  assert process.returncode == 0, said
  assert "resuming at step" in said and "| base/default" in said
  process = start(tmp_path / "whole")
  said, _ = process.communicate(timeout=300)
  assert process.returncode == 0, said
  with buckets.local(_WORKDIR) as folder:
    assert end(folder) == end(tmp_path / "whole")
  status = json.loads(bucket.blob("a/run/status.json").download_as_text())
  assert status["state"] == "done"


@pytest.mark.slow
def test_two_processes_wait_together_for_a_lock_that_is_left_behind(
  bucket, data_dir
):
  # For longer than a collective may take on CPUs.
  bucket.blob("a/run/lock.json").upload_from_string(_LEFT)
  done = subprocess.run(
    [
      "launch/local.sh",
      "2",
      *_ARGS,
      "--config.num_epochs=1",
      f"--workdir={_WORKDIR}",
      f"--data_dir={data_dir}",
    ],
    cwd=ROOT,
    env={**clean_environment(), "PYTHON": sys.executable},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stdout
  assert done.stdout.count("is taken over from process 7 on x") == 1
  status = json.loads(bucket.blob("a/run/status.json").download_as_text())
  assert status["state"] == "done" and status["processes"] == 2
