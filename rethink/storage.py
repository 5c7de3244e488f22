"""A run directory in a bucket, gs://BUCKET/FOLDER, which outlives machines.

The run works in a local copy, where renames, locks and manifests are what they
are everywhere; a thread carries what changes to the bucket, every half minute,
states only when they are whole. The lock is an object that is created if absent
and written again as a heartbeat; the bucket's generations decide who has it.
"""

import contextlib
import json
import os
import pathlib
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from rethink import errors, retries

_SCHEME = "gs://"
_PUSH_SECONDS = 30.0
_HEARTBEAT_SECONDS = 10.0
# Without a heartbeat for so long, a holder counts as dead.
_STALE_SECONDS = 60.0
_LOCK = "lock.json"
_MANIFEST = "manifest.json"
_PARTIAL = (".partial", ".orbax-checkpoint-tmp", ".deleted")


@contextlib.contextmanager
def local(workdir: str) -> Iterator[str]:
  """The folder to work in: a run directory, or a copy of one in a bucket.

  At the end, also that of an error, what is new has been carried there.

  Raises:
    ConfigError: if the bucket cannot be used, or another process works there.
    RethinkError: if the last changes cannot be carried there.
  """
  if not workdir.startswith(_SCHEME):
    yield workdir
    return
  bucket, folder = _open(workdir)
  with (
    tempfile.TemporaryDirectory(prefix="rethink-") as copy,
    _Lease(bucket, f"{folder}/{_LOCK}", pathlib.Path(copy, _LOCK)) as lease,
  ):
    mirror = _Mirror(bucket, folder, pathlib.Path(copy))
    mirror.fetch()
    stop = threading.Event()

    def carry() -> None:
      while not stop.wait(_PUSH_SECONDS):
        if not lease.lost:
          try:
            mirror.push()
          except Exception as error:  # the next round tries again
            text = f"rethink: warning: {workdir}: {error}"
            print(text, file=sys.stderr, flush=True)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
      yield copy
    finally:
      stop.set()
      thread.join()
      if not lease.lost:
        _finish(mirror, workdir)


def _finish(mirror: "_Mirror", workdir: str) -> None:
  try:
    mirror.push()
  except Exception as error:  # of any layer between here and the bucket
    raise errors.RethinkError(
      f"{workdir} lacks the last changes: {error}; run the same command again"
    ) from error


def _open(workdir: str) -> tuple[Any, str]:
  """(bucket, folder in it without slashes at its ends)."""
  name, _, folder = workdir.removeprefix(_SCHEME).partition("/")
  folder = folder.strip("/")
  if not name or not folder:
    raise errors.ConfigError(f"--workdir={workdir} must be gs://BUCKET/FOLDER")
  try:
    from google.cloud import storage  # pyright: ignore
  except ImportError:
    raise errors.ConfigError(
      f"--workdir={workdir} needs google-cloud-storage:"
      " pip install -c constraints.txt -e '.[gcs]'"
    ) from None
  try:
    bucket = storage.Client().bucket(name)
    next(iter(bucket.list_blobs(prefix=folder, max_results=1)), None)
  except Exception as error:  # of credentials, network, the service
    raise errors.ConfigError(
      f"--workdir={workdir} cannot be used: {str(error).splitlines()[0]}"
    ) from None
  return bucket, folder


class _Mirror:
  """Carries a folder to the bucket, file by file, only what has changed."""

  def __init__(self, bucket: Any, folder: str, copy: pathlib.Path):
    self._bucket, self._folder, self._copy = bucket, folder, copy
    self._sent: dict[str, tuple[int, int]] = {}  # size, mtime

  def fetch(self) -> None:
    """Brings what the bucket has; what was damaged may stay there."""
    for blob in self._bucket.list_blobs(prefix=f"{self._folder}/"):
      name = blob.name.removeprefix(f"{self._folder}/")
      if name.startswith((_LOCK, "damaged/")) or name.endswith("/"):
        continue
      path = self._copy / name
      path.parent.mkdir(parents=True, exist_ok=True)
      retries.persist(lambda b=blob, p=path: b.download_to_filename(str(p)))
      self._sent[name] = _stamp(path)

  def push(self) -> None:
    """Makes the bucket equal to the folder as it is now, in a safe order.

    Rows precede the state that they lead to, a state precedes its manifest,
    and the status that tells of all comes last; what goes, goes in reverse.
    """
    found = self._whole()
    changed = [n for n in found if self._sent.get(n) != found[n]]
    for name in sorted(changed, key=_rank):
      path = self._copy / name
      blob = self._bucket.blob(f"{self._folder}/{name}")
      if not path.exists():  # an old state that has just gone
        continue
      retries.persist(lambda b=blob, p=path: b.upload_from_filename(str(p)))
      self._sent[name] = found[name]
    gone = sorted(self._sent.keys() - found.keys(), key=_rank, reverse=True)
    for name in gone:
      blob = self._bucket.blob(f"{self._folder}/{name}")
      retries.persist(blob.delete)
      del self._sent[name]

  def _whole(self) -> dict[str, tuple[int, int]]:
    """The files that may be carried, with what tells whether they change."""
    found = {}
    for path in sorted(self._copy.rglob("*")):
      name = path.relative_to(self._copy).as_posix()
      parts = name.split("/")
      steps = parts[0] in ("checkpoints", "best") and len(parts) > 1
      if (
        any(mark in part for part in parts for mark in _PARTIAL)
        or parts[0].startswith(_LOCK)
        or (steps and not self._copy.joinpath(*parts[:2], _MANIFEST).exists())
      ):
        continue
      with contextlib.suppress(FileNotFoundError):
        if path.is_file():
          found[name] = _stamp(path)
    return found


def _rank(name: str) -> tuple[int, str]:
  if name == "status.json":
    return 3, name
  if name.endswith(f"/{_MANIFEST}"):
    return 2, name
  return int(name.startswith(("checkpoints/", "best/"))), name


def _stamp(path: pathlib.Path) -> tuple[int, int]:
  stat = path.stat()
  return stat.st_size, stat.st_mtime_ns


class _Lease:
  """The lock of a folder in a bucket, held inside a `with` block.

  Attributes:
    lost: whether another process has taken it over. The lock file of the local
      copy then names that one, so that the run stops as it would on a disk.
  """

  def __init__(self, bucket: Any, name: str, local_lock: pathlib.Path):
    self._bucket, self._name, self._local = bucket, name, local_lock
    self._blob = bucket.blob(name)
    self._text = json.dumps(
      {
        "token": uuid.uuid4().hex[:8],
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
      }
    )
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._beat, daemon=True)
    self.lost = False

  def __enter__(self) -> "_Lease":
    if not self._write(0):
      self._take_over()
    self._thread.start()
    return self

  def __exit__(self, *_) -> None:
    self._stop.set()
    self._thread.join()
    if not self.lost:
      with contextlib.suppress(Exception):  # it becomes stale by itself
        self._blob.delete(if_generation_match=self._blob.generation)

  def _write(self, generation: int) -> bool:
    """Replaces the lock of this generation, 0 for none; False if it is not."""
    from google.api_core import exceptions  # pyright: ignore

    try:
      self._blob.upload_from_string(self._text, if_generation_match=generation)
      return True
    except exceptions.PreconditionFailed:
      # The answer to an earlier attempt may have been lost.
      held = self._bucket.get_blob(self._name)
      if held is None or held.download_as_text() != self._text:
        return False
      self._blob = held
      return True

  def _take_over(self) -> None:
    held = self._bucket.get_blob(self._name)
    if held is None:  # released meanwhile
      taken = self._write(0)
    else:
      # By the clock of the bucket.
      probe = self._bucket.blob(f"{self._name}.{uuid.uuid4().hex[:8]}")
      probe.upload_from_string("")
      age = (probe.updated - held.updated).total_seconds()
      probe.delete()
      if age < _STALE_SECONDS:
        raise errors.ConfigError(
          f"{self._where} is in use by {self._holder()}, last seen {age:.0f} s"
          f" ago; wait, stop it, or give another --workdir (that of a dead"
          f" process can be taken over after {_STALE_SECONDS:.0f} s)"
        )
      taken = self._write(held.generation)
    if not taken:
      raise errors.ConfigError(f"{self._where} has just been taken by another")

  @property
  def _where(self) -> str:
    return f"{_SCHEME}{self._bucket.name}/{self._name.removesuffix(_LOCK)}"

  def _holder(self) -> str:
    text = self._bucket.blob(self._name).download_as_text()
    holder = json.loads(text)
    return f"process {holder['pid']} on {holder['host']}"

  def _beat(self) -> None:
    while not self._stop.wait(_HEARTBEAT_SECONDS):
      with contextlib.suppress(Exception):  # a bucket that is away for a while
        if not self._write(self._blob.generation):
          self.lost = True
          self._local.write_text(
            self._bucket.blob(self._name).download_as_text()
          )
          return
