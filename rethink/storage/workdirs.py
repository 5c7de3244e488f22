"""Folders in which the processes of a run work."""

import contextlib
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent import futures

import jax

from rethink import distributed
from rethink.storage import buckets

# A damaged file is copied as it is, for the readers to name.
_ERRORS = "surrogateescape"


@contextlib.contextmanager
def open_workdir(workdir: str) -> Iterator[str]:
  """Yields the folder of this process.

  Process 0 gets the run directory (or a local copy of one in a bucket), the
  other processes get a temporary folder.
  """
  place = buckets.local(workdir)
  try:
    alone = jax.process_count() == 1
  except RuntimeError:  # no device: the method that needs one reports it
    alone = True
  if alone:
    with place as folder:
      yield folder
    return
  if not distributed.is_first():
    prefix = f"rethink-process{jax.process_index()}-"
    place = tempfile.TemporaryDirectory(prefix=prefix)
  with contextlib.ExitStack() as stack:
    yield enter(stack, place, "open the run directory")


def enter[T](
  stack: contextlib.ExitStack,
  place: contextlib.AbstractContextManager[T],
  action: str,
) -> T:
  """Enters a context that may wait for minutes, in all processes or in none.

  Args:
    stack: leaves the context.
    place: the context of this process.
    action: what entering it means, for messages.

  Raises:
    OtherProcessError: if another process fails to enter its context.
  """
  if jax.process_count() == 1:
    return stack.enter_context(place)
  with futures.ThreadPoolExecutor(1) as pool:
    entered = pool.submit(stack.enter_context, place)
    # A collective on CPUs times out after half a minute: poll with short ones.
    while not all(distributed.all_gather(entered.done(), f"waits: {action}")):
      time.sleep(0.2)
    with distributed.together(action):
      return entered.result()
  raise AssertionError("not reached")


def copy_from_first(folder: str, names: Sequence[str]) -> None:
  """Copies small text files from process 0's folder to the other processes'."""
  texts = None
  if distributed.is_first() and jax.process_count() > 1:
    paths = [pathlib.Path(folder, name) for name in names]
    texts = {
      path.name: path.read_text(encoding="utf-8", errors=_ERRORS)
      for path in paths
      if path.exists()
    }
  texts = distributed.all_gather(texts, "records of the run")[0]
  if not distributed.is_first():
    for name, text in texts.items():
      path = pathlib.Path(folder, name)
      path.write_text(text, encoding="utf-8", errors=_ERRORS)
