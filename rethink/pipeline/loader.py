"""Large data stay on disk: a batch is read, decoded and corrupted when needed.

A batch is a pure function of the step, so that a run resumes at any step
without saved iterator state, and each of several processes makes its own rows
of the same global batch. Grain makes batches ahead of time, in threads or in
worker processes; images are decoded by the thread that makes the batch.
"""

import gc
import signal
from collections import deque
from collections.abc import (
  Callable,
  Generator,
  Iterable,
  Iterator,
  Sequence,
)
from typing import Any, NamedTuple

import grain
import jax
import numpy as np

from rethink import errors, example, signals
from rethink.corrupting import kinds
from rethink.pipeline import order, resident

_AHEAD = 2  # batches that are made ahead, and that are on the devices ahead


class Batch(NamedTuple):
  """The rows of a global batch that this process makes.

  Attributes:
    examples: its rows.
    mask: bool[n]; False for padding.
  """

  examples: example.Example
  mask: np.ndarray


class Batches:
  """The batches of this process, by step."""

  def __init__(
    self,
    plan: order.Plan,
    labels: example.Labels,
    images: Callable[[np.ndarray, int], np.ndarray],
    corruptions: Sequence[kinds.Corruption],
    context: example.Context,
    *,
    process_index: int = 0,
    process_count: int = 1,
    device_count: int = 1,
  ):
    """Binds an order to images and corruptions.

    Args:
      plan: which examples are in the batch of a step.
      labels: of the split that the plan's rows mean, corrupted.
      images: (rows, epoch) -> uint8 images; `Decoded` or `cache.Cached`.
      corruptions: those of pixels, applied to whole batches.
      context: what they may know.
      process_index: which of the processes this is; it makes the rows in its
        place, in the order of the processes.
      process_count: how many there are.
      device_count: of all of them together.

    Raises:
      ConfigError: if batches cannot be shared evenly.
    """
    self._plan, self._labels, self._images = plan, labels, images
    self._corruptions, self._context = tuple(corruptions), context
    self._process_index, self._process_count = process_index, process_count
    for step in (0, len(plan) - 1):
      size = len(plan[step].rows)
      if process_count > 1 and size % max(process_count, device_count):
        raise errors.ConfigError(
          f"a batch of {size} examples cannot be shared by {process_count}"
          f" processes with {device_count} devices; change config.batch_size or"
          " config.eval_batch_size; config.drop_last=True leaves the shorter"
          " last batch of an epoch out"
        )

  def __len__(self) -> int:
    return len(self._plan)

  def __getitem__(self, step: int) -> Batch:
    epoch, rows, mask = self._plan[step]
    share = len(rows) // self._process_count
    mine = slice(share * self._process_index, share * (self._process_index + 1))
    rows, mask = rows[mine], mask[mine]
    ids, label, true_label = self._labels.take(rows)
    image = self._images(rows, epoch)
    for corruption in self._corruptions:
      image, _ = kinds.corrupt_images(corruption, ids, image, self._context)
    return Batch(example.Example(ids, image, label, true_label), mask)


def iterate(
  batches: Batches,
  start: int = 0,
  stop: int | None = None,
  *,
  workers: int = 0,
) -> Iterator[Batch]:
  """The batches of steps [start, stop), made ahead of time and in order.

  Args:
    batches: of this process.
    start: the first step.
    stop: the step after the last; None is the end of the plan.
    workers: processes that make batches; 0 makes them in this one. Worth it
      where the threads of one process do not keep its cores busy; their caller
      must have parsed absl's flags, and be importable without side effects.
  """
  stop = len(batches) if stop is None else stop
  source: Any = batches  # Grain asks for the same protocol by another name
  steps: Any = grain.MapDataset.source(source)[start:stop]
  ahead = steps.to_iter_dataset(
    grain.ReadOptions(num_threads=_AHEAD, prefetch_buffer_size=_AHEAD)
  )
  if not workers:
    yield from ahead
    return
  options = grain.MultiprocessingOptions(num_workers=workers)
  made = iter(ahead.mp_prefetch(options, worker_init_fn=_leave_signals))
  try:
    yield from made
  finally:
    made.close()
    # Grain's queues lie in reference cycles. Left to a collection that happens
    # while other semaphores are made, theirs cannot be given back (Python 3.12:
    # "ResourceTracker called reentrantly").
    del made
    gc.collect()


def _leave_signals(index: int, count: int) -> None:
  """A signal to all processes of a run is for the one that saves its state."""
  del index, count
  for number in signals.CAUGHT:
    signal.signal(number, signal.SIG_IGN)


def to_devices(
  batches: Iterable[Batch],
  sharding: jax.sharding.NamedSharding,
) -> Generator[tuple[resident.Resident, jax.Array]]:
  """(global batch, its mask) on the devices; the next ones are on their way.

  Args:
    batches: the rows of this process.
    sharding: of the rows over the devices of all processes. Of a batch that
      they do not divide, each device gets a copy, if there is one process.
  """

  def put(batch: Batch) -> tuple[resident.Resident, jax.Array]:
    examples, mask = batch
    n = len(mask) * jax.process_count()
    target = sharding
    if n % sharding.mesh.size and jax.process_count() == 1:
      target = jax.sharding.NamedSharding(
        sharding.mesh, jax.sharding.PartitionSpec()
      )

    def place(rows: np.ndarray) -> jax.Array:
      return jax.make_array_from_process_local_data(
        target, np.ascontiguousarray(rows), (n, *rows.shape[1:])
      )

    fields = (examples.image, examples.label, examples.true_label)
    return resident.Resident(*map(place, fields)), place(mask)

  waiting: deque = deque()
  for batch in batches:
    waiting.append(put(batch))
    if len(waiting) > _AHEAD:
      yield waiting.popleft()
  yield from waiting
