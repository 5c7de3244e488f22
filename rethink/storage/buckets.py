"""A run directory in a bucket, gs://BUCKET/FOLDER, which outlives machines.

The run works in a local copy, because a bucket has no atomic rename. A thread
uploads the changes every half minute; a saved state is uploaded only when its
manifest is written.
"""

import contextlib
import pathlib
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from rethink import errors
from rethink.storage import bucket_locks, locks, ownership, retries, schema

SCHEME = "gs://"
_PUSH_SECONDS = 30.0
_STATUS = schema.STATUS
_MANIFEST = schema.MANIFEST
_LOOKED_AT = 1000  # objects, to see whose a folder is
_PARTIAL = (".partial", ".orbax-checkpoint-tmp", ".deleted")


@contextlib.contextmanager
def local(workdir: str) -> Iterator[str]:
  """Yields the local folder of a run directory.

  That is `workdir` itself, or a temporary copy if `workdir` is in a bucket. On
  exit, also after an exception, the last changes are uploaded.

  Raises:
    ConfigError: if the bucket cannot be used, or another process uses the run
      directory.
    RethinkError: if the bucket does not answer, if the last changes cannot be
      uploaded, or if another process has taken the run over.
  """
  if not workdir.startswith(SCHEME):
    yield workdir
    return
  with contextlib.ExitStack() as stack:
    try:
      bucket, folder = _open(workdir)
      _check_owner(bucket, folder)
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
    bucket_lock.check()  # raises even if there is nothing to upload
    mirror.push(bucket_lock.check)
  except locks.LostError:
    raise
  except Exception as error:  # of any layer between here and the bucket
    raise errors.RethinkError(
      f"{workdir} lacks the last changes: {error}; run the same command again"
    ) from error


def _fault(workdir: str, error: Exception) -> errors.RethinkError:
  """Converts a client's error.

  It becomes a ConfigError if a retry would not help, as when the bucket does
  not exist or access is denied.
  """
  from google.api_core import exceptions  # pyright: ignore
  from google.auth.exceptions import DefaultCredentialsError  # pyright: ignore

  kinds = (exceptions.ClientError, DefaultCredentialsError, ValueError)
  busy = isinstance(error, exceptions.TooManyRequests)
  final = isinstance(error, kinds) and not busy
  kind = errors.ConfigError if final else errors.RethinkError
  return kind(f"--workdir={workdir} cannot be used: {errors.reason(error)}")


def _open(workdir: str) -> tuple[Any, str]:
  """Returns the bucket and the folder in it, without outer slashes."""
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
  # Access to objects needs no project, and a machine outside of Google's cloud
  # may have none.
  return storage.Client(project=None).bucket(name), folder


def _check_owner(bucket: Any, folder: str) -> None:
  """Refuses a folder of somebody else's, before anything is written.

  Raises:
    ConfigError: naming what was found there.
  """
  prefix = f"{folder}/"
  blobs = {
    blob.name.removeprefix(prefix): blob
    for blob in bucket.list_blobs(prefix=prefix, max_results=_LOOKED_AT)
  }
  names = {name.partition("/")[0] for name in blobs if name}
  if ownership.is_empty(names):
    return

  def read(name: str) -> bytes:
    blob = blobs.get(name) or bucket.get_blob(prefix + name)
    return blob.download_as_bytes() if blob else b""

  manifests = [name for name in blobs if name.endswith(f"/{schema.MANIFEST}")]
  records = [schema.CONFIG, schema.STATUS, *manifests]
  if ownership.judge(records, read) is ownership.Owner.SOMEBODY:
    raise ownership.foreign(f"--workdir=gs://{bucket.name}/{folder}", names)


class _Mirror:
  """Copies a folder to the bucket, only the files that have changed."""

  def __init__(self, bucket: Any, folder: str, copy: pathlib.Path):
    self._bucket, self._folder, self._copy = bucket, folder, copy
    # Size and mtime of each file as it was last uploaded.
    self._sent: dict[str, tuple[int, int]] = {}

  def fetch(self) -> None:
    """Downloads the folder, except for the contents of damaged states."""
    for blob in self._bucket.list_blobs(prefix=f"{self._folder}/"):
      name = blob.name.removeprefix(f"{self._folder}/")
      if name.startswith(locks.NAME) or name.endswith("/"):
        continue
      if ".." in name.split("/"):
        raise errors.ConfigError(
          f"gs://{self._bucket.name}/{blob.name} is no name of a run's file;"
          " delete it, or give another --workdir"
        )
      path = self._copy / name
      if name.startswith("damaged/"):
        # The empty folders keep their names taken, so that states that are set
        # aside later do not replace them in the bucket.
        self._copy.joinpath(*name.split("/")[:2]).mkdir(
          parents=True, exist_ok=True
        )
        continue
      path.parent.mkdir(parents=True, exist_ok=True)
      retries.retry(lambda b=blob, p=path: b.download_to_filename(str(p)))
      self._sent[name] = _size_and_mtime(path)

  def push(self, check: Callable[[], None] = lambda: None) -> None:
    """Makes the bucket equal to the local folder.

    The order is safe at any interruption: metrics, then states, then their
    manifests, then status.json, which refers to all of them. Files that are
    gone locally are deleted in the reverse order.

    Args:
      check: raises if another process has taken the run over. Called before
        each file, because uploading gigabytes takes minutes.
    """
    status, before, text = self._copy / _STATUS, {}, b""
    if status.exists():
      # Read first, so that the files that it refers to are found below.
      before, text = {_STATUS: _size_and_mtime(status)}, status.read_bytes()
    found = {**self._complete_files(), **before}
    changed = [n for n in found if self._sent.get(n) != found[n]]
    for name in sorted(changed, key=_upload_order):
      blob = self._bucket.blob(f"{self._folder}/{name}")
      path = str(self._copy / name)
      check()
      with contextlib.suppress(FileNotFoundError):  # an old state was deleted
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

    # It was deleted by hand, or the answer to an earlier attempt was lost.
    with contextlib.suppress(exceptions.NotFound):
      self._bucket.blob(f"{self._folder}/{name}").delete()

  def _complete_files(self) -> dict[str, tuple[int, int]]:
    """Returns the files that are complete, with their sizes and mtimes."""
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
