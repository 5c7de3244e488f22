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
  with (
    contextlib.ExitStack() as stack,
    futures.ThreadPoolExecutor(1) as pool,
  ):
    opened = pool.submit(stack.enter_context, place)
    # Opening a bucket may take minutes, but a collective on CPUs times out
    # after half a minute: poll with short ones.
    while not distributed.all_gather(opened.done())[0]:
      time.sleep(0.2)
    yield opened.result()


def copy_from_first(folder: str, names: Sequence[str]) -> None:
  """Copies small text files from process 0's folder to the other processes'."""
  texts = None
  if distributed.is_first() and jax.process_count() > 1:
    paths = [pathlib.Path(folder, name) for name in names]
    texts = {p.name: p.read_text(encoding="utf-8") for p in paths if p.exists()}
  texts = distributed.all_gather(texts)[0]
  if not distributed.is_first():
    for name, text in texts.items():
      pathlib.Path(folder, name).write_text(text, encoding="utf-8")
