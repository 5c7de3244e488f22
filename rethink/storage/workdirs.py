"""Where the processes of a run work: process 0 in the run directory itself."""

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
  """Where to work: process 0 in the run directory, others in a folder apart."""
  place = buckets.local(workdir)
  try:
    alone = jax.process_count() == 1
  except RuntimeError:  # no device: the method that wants one explains it
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
    # A bucket may take minutes, and on CPUs nobody may keep the others waiting
    # for more than half a minute.
    while not distributed.all_gather(opened.done())[0]:
      time.sleep(0.2)
    yield opened.result()


def copy_from_first(folder: str, names: Sequence[str]) -> None:
  """Brings small files of process 0's folder into those of the others."""
  texts = None
  if distributed.is_first() and jax.process_count() > 1:
    paths = [pathlib.Path(folder, name) for name in names]
    texts = {p.name: p.read_text() for p in paths if p.exists()}
  texts = distributed.all_gather(texts)[0]
  if not distributed.is_first():
    for name, text in texts.items():
      pathlib.Path(folder, name).write_text(text)
