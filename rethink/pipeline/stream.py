"""Large data stay on disk: a batch is read, decoded and corrupted when needed.

A batch is a pure function of the step, so that a run resumes at any step
without saved iterator state, and each of several processes makes its own rows
of the same global batch. Grain makes batches ahead of time, in threads or in
worker processes; images are decoded by the thread that makes the batch.
"""

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

from rethink import bits, datasets, errors, example, records
from rethink.pipeline import frames, index, order, resident

Corruption = Callable[
  [example.Example, example.Context], tuple[example.Example, dict]
]


class Split(NamedTuple):
  """One split on disk.

  Attributes:
    name: of the split.
    info: the data set; `shape` is (0, 0, channels).
    entries: what is known of the examples, sorted by id.
    source: the records by position, their images encoded.
    keys: the features of a record.
    skipped: a line for each damaged record of the data set that is left out.
  """

  name: str
  info: example.DatasetInfo
  entries: index.Entries
  source: Any
  keys: records.Keys
  skipped: tuple[str, ...]

  def take(self, rows: np.ndarray) -> "Split":
    """The split cut to the entries at these rows."""
    return self._replace(entries=self.entries.take(rows))


class Batch(NamedTuple):
  """What a process holds of a global batch.

  Attributes:
    examples: its rows.
    mask: bool[n]; False for padding.
  """

  examples: example.Example
  mask: np.ndarray


class Decoded:
  """(rows, epoch) -> uint8[n, height, width, channels], from the records."""

  def __init__(self, split: Split, frame: frames.Frame, seed: int):
    """Frames of a split; `seed` draws random ones, by (seed, epoch, id)."""
    self.split, self.frame, self._seed = split, frame, seed

  def __call__(self, rows: np.ndarray, epoch: int) -> np.ndarray:
    split, entries = self.split, self.split.entries.take(rows)
    words = bits.bits(
      self._seed, f"frame/{epoch}", entries.id, self.frame.words
    )
    images = np.empty((len(rows), *self.frame.shape), np.uint8)
    positions = entries.position.tolist()
    found, _ = records.rows(split.source, positions, skip_damaged=False)
    for i, (position, row) in enumerate(found):
      name = records.name(row, position, split.keys)
      if bits.hash64(f"{split.name}/{name}") != entries.id[i]:
        raise errors.DataError(
          f"record {position} of split {split.name!r} is {name!r}, which"
          f" {index.FILE} does not say; delete that file"
        )
      images[i] = self.frame(row[split.keys.image], name, words[i])
    return images


class Batches:
  """The batches of this process, by step."""

  def __init__(
    self,
    plan: order.Plan,
    entries: index.Entries,
    images: Callable[[np.ndarray, int], np.ndarray],
    corruptions: Sequence[Corruption],
    context: example.Context,
    *,
    process_index: int = 0,
    process_count: int = 1,
    device_count: int = 1,
  ):
    """Binds an order to images and corruptions.

    Args:
      plan: which examples are in the batch of a step.
      entries: of the split that the plan's rows mean.
      images: (rows, epoch) -> uint8 images; `Decoded` or `cache.Cached`.
      corruptions: as in the resident path, applied to whole batches.
      context: what they may know.
      process_index: which of the processes this is; it makes the rows in its
        place, in the order of the processes.
      process_count: how many there are.
      device_count: of all of them together.

    Raises:
      ConfigError: if batches cannot be shared evenly.
    """
    self._plan, self._entries, self._images = plan, entries, images
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
    label = self._entries.label[rows]
    examples = example.Example(
      self._entries.id[rows], self._images(rows, epoch), label, label.copy()
    )
    for corruption in self._corruptions:
      examples, _ = corruption(examples, self._context)
    return Batch(examples, mask)


def open_split(
  name: str, data_dir: str, split: str, *, skip_damaged: bool = False
) -> Split:
  """A split of a prepared data set; reads its index only.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: the folder that holds `name/version/`.
    split: its name.
    skip_damaged: leave out records that cannot be read or decoded.

  Raises:
    DataError: if the data set is missing or damaged.
    ConfigError: if it has no such split.
  """
  known = index.load(name, data_dir, skip_damaged=skip_damaged)
  if split not in known.splits:
    raise errors.ConfigError(
      f"{known.info.name} has no split {split!r}; for config.train_split and"
      f" config.test_split there are: {', '.join(known.splits)}"
    )
  directory = datasets.find(name, data_dir)
  with datasets.naming(name, data_dir, directory):
    builder = datasets.open_builder(directory, data_dir)
    keys = records.keys(builder.info, directory)
    source = datasets.encoded(builder, split, keys)
  return Split(
    split, known.info, known.splits[split], source, keys, known.skipped
  )


def check_frames(
  frame: frames.Frame, corruptions: Sequence[Corruption], info: Any
) -> None:
  """Refuses random frames of images whose pixels a corruption destroys.

  The corruption comes after the frame and is the same in every epoch, so that
  the frame would augment nothing.

  Raises:
    ConfigError: naming both.
  """
  if not frame.words:
    return
  size, channels = 4, info.shape[-1]
  image = np.arange(size * size * channels, dtype=np.uint8)
  image = image.reshape(1, size, size, channels)
  one = np.zeros(1, np.int32)
  probe = example.Example(np.zeros(1, np.uint64), image, one, one)
  for corruption in corruptions:
    after, _ = corruption(probe, example.Context(0, info, size))
    if not np.array_equal(after.image, image):
      raise errors.ConfigError(
        f"{corruption} changes pixels, which {frame} would cut out at random;"
        " frame the images by central(size)"
      )


def iterate(
  batches: Batches,
  start: int = 0,
  stop: int | None = None,
  *,
  threads: int = 2,
  workers: int = 0,
) -> Iterator[Batch]:
  """The batches of steps [start, stop), made ahead of time and in order.

  Args:
    batches: of this process.
    start: the first step.
    stop: the step after the last; None is the end of the plan.
    threads: batches that a process makes at a time.
    workers: processes that make batches; 0 makes them in this one. Worth it
      where the threads of one process do not keep its cores busy; their caller
      must have parsed absl's flags, and be importable without side effects.
  """
  stop = len(batches) if stop is None else stop
  source: Any = batches  # Grain asks for the same protocol by another name
  steps: Any = grain.MapDataset.source(source)[start:stop]
  ahead = steps.to_iter_dataset(
    grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1)
  )
  if workers:
    ahead = ahead.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
  yield from ahead


def to_devices(
  batches: Iterable[Batch],
  sharding: jax.sharding.NamedSharding,
  *,
  ahead: int = 2,
) -> Generator[tuple[resident.Resident, jax.Array]]:
  """(global batch, its mask) on the devices; the next ones are on their way.

  Args:
    batches: the rows of this process.
    sharding: of the rows over the devices of all processes. Of a batch that
      they do not divide, each device gets a copy, if there is one process.
    ahead: how many batches are on their way.
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
    if len(waiting) > ahead:
      yield waiting.popleft()
  yield from waiting
