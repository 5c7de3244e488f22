"""One preparer of a data set at a time; the others wait."""

import contextlib
import pathlib
from collections.abc import Iterator

from rethink import errors
from rethink.storage import files


@contextlib.contextmanager
def one_preparer(name: str, data_dir: str) -> Iterator[None]:
  """Holds `data_dir/.name.lock`, after whoever holds it now.

  Raises:
    DataError: if the lock cannot be had, on a read-only disk for instance.
  """
  path = pathlib.Path(data_dir).expanduser()
  path = path / f".{name.replace('/', '.')}.lock"
  with contextlib.ExitStack() as stack:
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      stack.enter_context(files.lock(path, f"prepares {name!r}"))
    except OSError as error:
      raise errors.DataError(
        f"cannot write data set {name!r}, for {path} cannot be locked: {error}"
      ) from error
    yield
