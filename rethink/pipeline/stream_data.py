"""The data of a run whose images stay on disk: `run_data` of the stream path.

Labels are known at the start; images are read, framed and corrupted when a step
needs them. Only for a corruption of labels that asks for images are all of them
read once at the start.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from rethink import errors, example
from rethink.corrupting import kinds
from rethink.pipeline import (
  cache,
  crops,
  decoding,
  framing,
  loader,
  order,
  run_data,
  splits,
  stream_labels,
)

Images = Callable[[np.ndarray, int], np.ndarray]


class StreamData(NamedTuple):
  """The data of a run.

  Attributes:
    known: all but the images.
    context: what corruptions may know.
    train: to learn from.
    evaluated: the part of `train` that clean passes go over.
    test: to be tested on.
    images: of the three, by name, the same in every epoch; and of "training",
      which random crops take out of `train`.
  """

  known: run_data.RunData[example.Labels]
  context: example.Context
  train: decoding.Split
  evaluated: decoding.Split
  test: decoding.Split
  images: dict[str, Images]

  def cached(
    self, config: Any, stopped: Callable[[], bool]
  ) -> "StreamData | None":
    """Returns these data with unchanging images read from the cache.

    The cache lies in `bookkeeping.cache_dir` and is filled first. Returns None
    if the run was stopped before it was full.
    """
    found = dict(self.images)

    def cache_one(name: str) -> bool:
      decoded, folder = self.images[name], config.bookkeeping.cache_dir
      assert isinstance(decoded, decoding.Decoded)
      opened = cache.open_cache(decoded, folder, stopped)
      if opened is not None:
        found[name] = opened
      return opened is not None

    random_crops = found["training"] is not found["train"]
    if not random_crops or config.bookkeeping.examples_every_epochs:
      if not cache_one("train"):
        return None
      rows = np.searchsorted(self.train.entries.id, self.evaluated.entries.id)
      found["evaluated"] = _Rows(found["train"], rows)
    elif not cache_one("evaluated"):
      return None
    if not cache_one("test"):
      return None
    if not random_crops:
      found["training"] = found["train"]
    return self._replace(images=found)


def open_data(
  run: Any, data_dir: str, stopped: Callable[[], bool] = lambda: False
) -> StreamData:
  """Opens the data of a run; `run` is `settings.Settings`.

  Raises:
    DataError: if data are missing or damaged.
    PreemptedError: if stopped.
    ConfigError: if split, subset or frames do not fit the data set.
  """
  config = run.config
  fields = ("train_split", "test_split")
  parts = [splits.parse(config[field], field) for field in fields]
  stored, tested = (
    decoding.open_split(
      config.dataset,
      data_dir,
      part.name,
      skip_damaged=config.skip_damaged,
      stopped=stopped,
    )
    for part in parts
  )
  frame, resized = framing.frame(config, stored), framing.resizes(config)
  size = framing.side(config, frame.shape[:2], stored.info.name)
  crop = _random_crop(run, size)
  info = framing.info(stored.info, frame)
  if crop is not None:
    _check_crops(run.corruptions)
  context = example.Context(config.data_seed, info, size)
  train, test = (
    whole if part.whole else whole.take(part.rows(len(whole.entries.id), field))
    for whole, part, field in zip((stored, tested), parts, fields, strict=True)
  )
  if config.train_examples:
    train = _subset(train, config.train_examples, config)
  evaluated = train
  if config.eval_train_examples:
    evaluated = _subset(train, config.eval_train_examples, config)
  workers = config.bookkeeping.stream_workers
  threads = config.bookkeeping.stream_threads
  threads = threads or max(1, decoding.cores() // max(1, workers))

  def decoded(split: decoding.Split, frame: crops.Frame) -> Images:
    return decoding.Decoded(split, frame, config.seed, threads)

  found = {
    "train": decoded(train, frame),
    "evaluated": decoded(evaluated, frame),
    "test": decoded(test, frame),
  }
  found["training"] = decoded(train, crop) if crop else found["train"]
  known = run_data.corrupt_labels(
    run,
    context,
    (
      stream_labels.split(train, stored, training=True),
      stream_labels.read_once(found["train"], stopped),
    ),
    (
      stream_labels.split(test, tested, training=False),
      stream_labels.read_once(found["test"], stopped),
    ),
    train.skipped,
    None if resized else frame.shape[:2],
  )
  return StreamData(known, context, train, evaluated, test, found)


def training(data: StreamData, run: Any) -> loader.Batches:
  """This process's batches of all steps.

  Raises:
    ConfigError: if processes and devices cannot share them.
  """
  config, entries = run.config, data.train.entries
  plan = order.Epochs(
    entries.id,
    config.seed,
    config.batch_size,
    config.num_epochs,
    drop_last=config.drop_last,
  )
  return _batches(plan, data, data.train, "training", run)


def clean(
  data: StreamData, name: str, run: Any, batch_size: int = 0
) -> loader.Batches:
  """Returns this process's batches of a clean pass over a split.

  Args:
    data: of the run.
    name: of the split.
    run: `settings.Settings`.
    batch_size: examples at a time; 0 is config.eval_batch_size.

  Raises:
    ConfigError: if processes and devices cannot share them.
  """
  split: decoding.Split = getattr(data, name)
  size = batch_size or run.config.eval_batch_size
  plan = order.Once(len(split.entries.id), size)
  return _batches(plan, data, split, name, run)


def _batches(
  plan: order.Plan, data: StreamData, split: decoding.Split, name: str, run: Any
) -> loader.Batches:
  known = data.known.test if name == "test" else data.known.train
  return loader.Batches(
    plan,
    known.take(np.searchsorted(known.id, split.entries.id)),
    data.images[name],
    kinds.of_pixels(run.corruptions),
    data.context,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    device_count=jax.device_count(),
  )


class _Rows(NamedTuple):
  """Some of the images of a split, under numbers of their own."""

  images: Images
  rows: np.ndarray

  def __call__(self, rows: np.ndarray, epoch: int) -> np.ndarray:
    return self.images(self.rows[rows], epoch)


def _random_crop(run: Any, size: int) -> crops.RandomCrop | None:
  """Returns the random crop of a regularizer that acts in decoding."""
  found = [r().frame for r in run.regularizers if r().frame is not None]
  if len(found) > 1:
    raise errors.ConfigError(
      "config.regularizers: only one of them can cut images out"
    )
  return crops.RandomCrop(size, **found[0]) if found else None


def _labels(split: decoding.Split) -> example.Labels:
  entries = split.entries
  return example.Labels(entries.id, entries.label, entries.label)


def _subset(split: decoding.Split, n: int, config: Any) -> decoding.Split:
  part = run_data.part(_labels(split), n, config, split.info)
  return split.take(np.searchsorted(split.entries.id, part.id))


def _check_crops(corruptions: tuple[kinds.Corruption, ...]) -> None:
  """Refuses random crops of images whose pixels a corruption destroys.

  Raises:
    ConfigError: naming both.
  """
  for corruption in kinds.of_pixels(corruptions):
    raise errors.ConfigError(
      f"config.corruptions: {corruption} changes the pixels that"
      " random_resized_crop() cuts out, alike in every epoch, so that the"
      " crop would augment nothing; take it out of config.regularizers"
    )
