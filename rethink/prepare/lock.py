"""One preparer of a data set at a time; the others wait."""

import contextlib
import fcntl
import pathlib
import sys
from collections.abc import Iterator

from rethink import errors


@contextlib.contextmanager
def held(name: str, data_dir: str) -> Iterator[None]:
  """Holds `data_dir/.name.lock`, after whoever holds it now.

  The kernel releases the lock of a process that ends in whatever way, so none
  is ever stale. The empty file stays: to remove it would race with a waiter.

  Raises:
    DataError: if the lock cannot be had, on a read-only disk for instance.
  """
  path = pathlib.Path(data_dir).expanduser()
  path = path / f".{name.replace('/', '.')}.lock"
  with contextlib.ExitStack() as stack:
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      file = stack.enter_context(path.open("a"))
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        print(
          f"rethink: waiting for another process that prepares {name!r}",
          file=sys.stderr,
          flush=True,
        )
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
      raise errors.DataError(
        f"cannot write data set {name!r}, for {path} cannot be locked: {error}"
      ) from error
    yield
