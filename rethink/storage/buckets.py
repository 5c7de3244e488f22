"""A run directory in a bucket, gs://BUCKET/FOLDER, which outlives machines.

The run works in a local copy, where renames, locks and manifests are what they
are everywhere; a thread carries what changes to the bucket, every half minute,
states only when they are whole.
"""

import contextlib
import pathlib
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from rethink import errors
from rethink.storage import bucket_locks, locks, retries

SCHEME = "gs://"
_PUSH_SECONDS = 30.0
_STATUS = "status.json"
_MANIFEST = "manifest.json"
_PARTIAL = (".partial", ".orbax-checkpoint-tmp", ".deleted")


@contextlib.contextmanager
def local(workdir: str) -> Iterator[str]:
  """The folder to work in: a run directory, or a copy of one in a bucket.

  At the end, also that of an error, what is new has been carried there.

  Raises:
    ConfigError: if the bucket cannot be used, or another process works there.
    RethinkError: if the bucket does not answer, the last changes cannot be
      carried there, or another process has taken the run over.
  """
  if not workdir.startswith(SCHEME):
    yield workdir
    return
  with contextlib.ExitStack() as stack:
    try:
      bucket, folder = _open(workdir)
      temporary = tempfile.TemporaryDirectory(prefix="rethink-")
      copy = pathlib.Path(stack.enter_context(temporary))
      bucket_lock = stack.enter_context(
        bucket_locks.BucketLock(bucket, folder, copy)
      )
      mirror = _Mirror(bucket, folder, copy)
      mirror.fetch()
    except errors.RethinkError:
      raise
    except Exception as error:  # of credentials, network, the service
      raise _fault(workdir, error) from error
    stop = threading.Event()

    def upload_changes() -> None:
      while not stop.wait(_PUSH_SECONDS):
        try:
          mirror.push(bucket_lock.check)
        except locks.LostError:
          return
        except Exception as error:  # the next round tries again
          text = f"rethink: warning: {workdir}: {error}"
          print(text, file=sys.stderr, flush=True)

    thread = threading.Thread(target=upload_changes, daemon=True)
    thread.start()
    try:
      yield str(copy)
    finally:
      stop.set()
      thread.join()
      _finish(bucket_lock, mirror, workdir)


def _finish(
  bucket_lock: bucket_locks.BucketLock, mirror: "_Mirror", workdir: str
) -> None:
  try:
    retries.retry(bucket_lock.renew)
    bucket_lock.check()  # also where nothing is left to carry
    mirror.push(bucket_lock.check)
  except locks.LostError:
    raise
  except Exception as error:  # of any layer between here and the bucket
    raise errors.RethinkError(
      f"{workdir} lacks the last changes: {error}; run the same command again"
    ) from error


def _fault(workdir: str, error: Exception) -> errors.RethinkError:
  """A ConfigError if another try would not help: no such bucket, no right."""
  from google.api_core import exceptions  # pyright: ignore
  from google.auth.exceptions import DefaultCredentialsError  # pyright: ignore

  kinds = (exceptions.ClientError, DefaultCredentialsError, ValueError)
  busy = isinstance(error, exceptions.TooManyRequests)
  final = isinstance(error, kinds) and not busy
  kind = errors.ConfigError if final else errors.RethinkError
  return kind(f"--workdir={workdir} cannot be used: {errors.reason(error)}")


def _open(workdir: str) -> tuple[Any, str]:
  """(bucket, folder in it without slashes at its ends)."""
  name, _, folder = workdir.removeprefix(SCHEME).partition("/")
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
  # No project: objects need none, and a machine elsewhere may have none.
  return storage.Client(project=None).bucket(name), folder


class _Mirror:
  """Carries a folder to the bucket, file by file, only what has changed."""

  def __init__(self, bucket: Any, folder: str, copy: pathlib.Path):
    self._bucket, self._folder, self._copy = bucket, folder, copy
    self._sent: dict[str, tuple[int, int]] = {}  # size, mtime

  def fetch(self) -> None:
    """Brings what the bucket has; what was damaged may stay there."""
    for blob in self._bucket.list_blobs(prefix=f"{self._folder}/"):
      name = blob.name.removeprefix(f"{self._folder}/")
      if name.startswith(locks.NAME) or name.endswith("/"):
        continue
      path = self._copy / name
      if name.startswith("damaged/"):  # only their names, so that all stay
        self._copy.joinpath(*name.split("/")[:2]).mkdir(
          parents=True, exist_ok=True
        )
        continue
      path.parent.mkdir(parents=True, exist_ok=True)
      retries.retry(lambda b=blob, p=path: b.download_to_filename(str(p)))
      self._sent[name] = _size_and_mtime(path)

  def push(self, check: Callable[[], None] = lambda: None) -> None:
    """Makes the bucket equal to the folder as it is now, in a safe order.

    Rows precede the state that they lead to, a state precedes its manifest,
    and the status that tells of all comes last; what goes, goes in reverse.

    Args:
      check: raises if another process has the run now; asked before each file,
        as gigabytes take minutes.
    """
    status, before, text = self._copy / _STATUS, {}, b""
    if status.exists():
      # Read first, so that all it tells of is among the files found below.
      before, text = {_STATUS: _size_and_mtime(status)}, status.read_bytes()
    found = {**self._complete_files(), **before}
    changed = [n for n in found if self._sent.get(n) != found[n]]
    for name in sorted(changed, key=_upload_order):
      blob = self._bucket.blob(f"{self._folder}/{name}")
      path = str(self._copy / name)
      check()
      with contextlib.suppress(FileNotFoundError):  # a state has just gone
        if name == _STATUS:
          retries.retry(lambda b=blob: b.upload_from_string(text))
        else:
          retries.retry(lambda b=blob, p=path: b.upload_from_filename(p))
        self._sent[name] = found[name]
    gone = sorted(
      self._sent.keys() - found.keys(), key=_upload_order, reverse=True
    )
    for name in gone:
      check()
      retries.retry(lambda n=name: self._delete(n))
      del self._sent[name]

  def _delete(self, name: str) -> None:
    from google.api_core import exceptions  # pyright: ignore

    # Gone already: by hand, or the answer to an earlier attempt was lost.
    with contextlib.suppress(exceptions.NotFound):
      self._bucket.blob(f"{self._folder}/{name}").delete()

  def _complete_files(self) -> dict[str, tuple[int, int]]:
    """The files that may be carried, with what tells whether they change."""
    found = {}
    for path in sorted(self._copy.rglob("*")):
      name = path.relative_to(self._copy).as_posix()
      parts = name.split("/")
      steps = parts[0] in ("checkpoints", "best") and len(parts) > 1
      if (
        any(mark in part for part in parts for mark in _PARTIAL)
        or parts[0].startswith(locks.NAME)
        or (steps and not self._copy.joinpath(*parts[:2], _MANIFEST).exists())
      ):
        continue
      with contextlib.suppress(FileNotFoundError):
        if path.is_file():
          found[name] = _size_and_mtime(path)
    return found


def _upload_order(name: str) -> tuple[int, str]:
  if name == _STATUS:
    return 3, name
  if name.endswith(f"/{_MANIFEST}"):
    return 2, name
  return int(name.startswith(("checkpoints/", "best/"))), name


def _size_and_mtime(path: pathlib.Path) -> tuple[int, int]:
  stat = path.stat()
  return stat.st_size, stat.st_mtime_ns
