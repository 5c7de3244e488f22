"""The lock of a run directory in a bucket: an object with a heartbeat.

The holder creates the object if there is none and rewrites it while it lives.
Each write names the generation that it replaces, so that the bucket lets one of
several processes win; the bucket's clock tells how long a holder was silent.
"""

import contextlib
import pathlib
import sys
import threading
import time
import uuid
from typing import Any

from rethink import errors
from rethink.storage import locks, schema

# How long to wait for another holder. It may be about to exit, or it may have
# died less than locks.STALE_SECONDS ago, as when a scheduler restarts a killed
# run at once.
WAIT_SECONDS = 90.0
_POLL_SECONDS = 5.0
# Timeout of one request: a hanging connection must not cost the lock.
_REQUEST_SECONDS = 15.0


class BucketLock:
  """The lock of a folder in a bucket, held inside a `with` block.

  Attributes:
    lost: whether another process has taken the lock over. The lock file in the
      local copy then names that process, so that the run stops as it would on
      a disk.
  """

  def __init__(self, bucket: Any, folder: str, copy: pathlib.Path):
    self._bucket, self._name = bucket, f"{folder}/{locks.NAME}"
    self._where = f"gs://{bucket.name}/{folder}"
    self._copy = copy / locks.NAME
    self._blob = bucket.blob(self._name)
    self._text = locks.text(locks.this_process())
    self._one_at_a_time = threading.Lock()
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._beat, daemon=True)
    self._written = 0.0  # time of the last write, by this machine's clock
    self.lost = False

  def __enter__(self) -> "BucketLock":
    """Acquires the lock once its holder has released it or counts as dead.

    Raises:
      ConfigError: if the holder is still alive after WAIT_SECONDS.
    """
    began, told = time.monotonic(), False
    while not self._write(0):
      current = self._bucket.get_blob(self._name)
      if current is None:  # released since the failed write
        continue
      who, age = _holder(current), self._age(current)
      if age > locks.STALE_SECONDS:
        if self._write(current.generation):
          _say(f"{self._where} is taken over from {who}, which is gone")
          break
        continue  # another process was faster
      used = f"{self._where} is in use by {who}, last seen {age:.0f} s ago"
      left = began + WAIT_SECONDS - time.monotonic()
      if left <= 0:
        raise errors.ConfigError(
          f"{used}; stop that process, or give another --workdir"
        )
      if not told:
        _say(f"{used}; waiting up to {left:.0f} s for it to end")
        told = True
      time.sleep(min(_POLL_SECONDS, left))
    self._thread.start()
    return self

  def __exit__(self, *_) -> None:
    self._stop.set()
    self._thread.join()
    if not self.lost:
      with contextlib.suppress(Exception):  # without heartbeats it goes stale
        self._blob.delete(if_generation_match=self._blob.generation)

  def check(self) -> None:
    """Checks that this process still holds the lock.

    The bucket is asked only if the last heartbeat is not recent.

    Raises:
      LostError: if another process has taken the lock over.
      Exception: whatever the client raises if the bucket does not answer.
    """
    silent = time.monotonic() - self._written
    recent = silent < 2 * locks.HEARTBEAT_SECONDS
    if self.lost or (not recent and not self.renew()):
      raise locks.LostError(
        f"{self._where} was taken over by another process while this one did"
        " not respond; this process stops"
      )

  def renew(self) -> bool:
    """Renews the heartbeat; returns whether this process holds the lock.

    Raises:
      Exception: whatever the client raises if the bucket does not answer.
    """
    with self._one_at_a_time:
      if not self.lost and not self._write(self._blob.generation):
        # The process that took the lock may have released it already; then its
        # name is unknown.
        text = '{"token": "another"}'
        with contextlib.suppress(Exception):
          text = self._bucket.blob(self._name).download_as_text()
        self._copy.write_text(text, encoding="utf-8")
        self.lost = True
      return not self.lost

  def _beat(self) -> None:
    while not self.lost and not self._stop.wait(locks.HEARTBEAT_SECONDS):
      with contextlib.suppress(
        Exception
      ):  # the bucket may be unreachable for a while
        self.renew()

  def _write(self, generation: int) -> bool:
    """Writes the lock if the object has this generation; returns success.

    Args:
      generation: of the object to replace; 0 if there must be none.
    """
    from google.api_core import exceptions  # pyright: ignore

    began = time.monotonic()
    try:
      self._blob.upload_from_string(
        self._text, if_generation_match=generation, timeout=_REQUEST_SECONDS
      )
      self._written = began
      return True
    except exceptions.PreconditionFailed:
      # The client retries: an earlier attempt may have succeeded and only its
      # answer was lost.
      current = self._bucket.get_blob(self._name)
      with contextlib.suppress(exceptions.NotFound):
        if current is not None and current.download_as_text() == self._text:
          self._blob, self._written = current, began
          return True
      return False

  def _age(self, current: Any) -> float:
    """Returns the seconds since the last heartbeat, by the bucket's clock."""
    probe = self._bucket.blob(f"{self._name}.{uuid.uuid4().hex[:8]}")
    probe.upload_from_string("")
    age = (probe.updated - current.updated).total_seconds()
    with contextlib.suppress(
      Exception
    ):  # at worst an empty object stays behind
      probe.delete()
    return age


def _holder(current: Any) -> str:
  try:
    content = current.download_as_bytes()
  except Exception:  # just released
    content = b""
  return locks.describe(schema.parse_lock(content))


def _say(text: str) -> None:
  print(f"rethink: {text}", file=sys.stderr, flush=True)
