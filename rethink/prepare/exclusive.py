"""Lets one process at a time prepare a data set; the others wait."""

import contextlib
import pathlib
from collections.abc import Iterator

from rethink import errors
from rethink.storage import files


@contextlib.contextmanager
def one_preparer(name: str, data_dir: str) -> Iterator[None]:
  """Holds the lock `data_dir/.name.lock`; waits while another process has it.

  Raises:
    DataError: if the lock cannot be taken, for instance on a read-only disk.
  """
  path = pathlib.Path(data_dir).expanduser()
  path = path / f".{name.replace('/', '.')}.lock"
  with contextlib.ExitStack() as stack:
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      stack.enter_context(files.lock(path, f"prepares {name!r}"))
    except OSError as error:
      raise errors.DataError(
        f"cannot write data set {name!r}, because {path} cannot be locked:"
        f" {error}; choose a --data_dir on a disk that is writable"
      ) from error
    yield
