"""What a run learns from and is tested on, left on disk: `splits` of a stream.

Labels are known at the start, as they depend on ids and not on pixels; images
are read, framed and corrupted when a step needs them.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from rethink import datasets, errors, example, records
from rethink.pipeline import cache, frames, order, splits, stream

Images = Callable[[np.ndarray, int], np.ndarray]


class Source(NamedTuple):
  """One split of a run.

  Attributes:
    split: cut to the examples of the run.
    images: (rows, epoch) -> uint8 images, the same in every epoch.
    context: what corruptions may know.
  """

  split: stream.Split
  images: Images
  context: example.Context


class Streamed(NamedTuple):
  """The data of a run.

  Attributes:
    known: all but the images; a grey pixel stands for each of them.
    train: to learn from.
    evaluated: the part of `train` that clean passes go over.
    test: to be tested on.
    augmented: random images of `train`, in place of its own; None without.
  """

  known: splits.Splits
  train: Source
  evaluated: Source
  test: Source
  augmented: stream.Decoded | None


def load(run: Any, data_dir: str) -> Streamed:
  """Opens the data of a run; `run` is `settings.Settings`.

  Raises:
    DataError: if data are missing or damaged.
    ConfigError: if split, subset or frames do not fit the data set.
  """
  config = run.config
  train, test = (
    stream.open_split(
      config.dataset, data_dir, name, skip_damaged=config.skip_damaged
    )
    for name in (config.train_split, config.test_split)
  )
  info, frame = train.info, _frame(config, train)
  context = example.Context(
    config.data_seed, info._replace(shape=frame.shape), config.image_size
  )
  if config.train_examples:
    train = _subset(train, config.train_examples, config, context)
  known = splits.corrupt(
    run,
    _grey(train),
    _grey(test),
    context._replace(image_size=1),
    train.skipped,
  )

  def source(split: stream.Split) -> Source:
    decoded = stream.Decoded(split, frame, config.seed)
    folder = config.bookkeeping.cache_dir
    images = cache.open_cache(decoded, folder) if folder else decoded
    return Source(split, images, context)

  whole = source(train)
  evaluated = whole
  if config.eval_train_examples:
    n = config.eval_train_examples
    part = _subset(train, n, config, context)
    # Of the same images, so that a cache holds them once.
    rows = np.searchsorted(train.entries.id, part.entries.id)
    evaluated = Source(part, _Rows(whole.images, rows), context)
  crop = _random_crop(run)
  if crop is None:
    return Streamed(known, whole, evaluated, source(test), None)
  stream.check_frames(crop, run.corruptions, info)
  augmented = stream.Decoded(train, crop, config.seed)
  return Streamed(known, whole, evaluated, source(test), augmented)


def training(data: Streamed, run: Any, start: int) -> Iterator[stream.Batch]:
  """This process's batches of the steps from `start` on.

  Raises:
    ConfigError: if batches cannot be shared by the processes and devices.
  """
  config, entries = run.config, data.train.split.entries
  plan = order.Epochs(
    entries.id,
    config.seed,
    config.batch_size,
    config.num_epochs,
    drop_last=config.drop_last,
  )
  images = data.augmented or data.train.images
  batches = _batches(plan, data.train, images, run)
  return stream.iterate(batches, start, **_workers(config))


def clean(source: Source, run: Any) -> Iterator[stream.Batch]:
  """This process's batches of a clean pass over a split.

  Raises:
    ConfigError: if batches cannot be shared by the processes and devices.
  """
  n = len(source.split.entries.id)
  plan = order.Once(n, run.config.eval_batch_size)
  batches = _batches(plan, source, source.images, run)
  return stream.iterate(batches, **_workers(run.config))


def _batches(
  plan: order.Plan, source: Source, images: Any, run: Any
) -> stream.Batches:
  return stream.Batches(
    plan,
    source.split.entries,
    images,
    run.corruptions,
    source.context,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    device_count=jax.device_count(),
  )


def _workers(config: Any) -> dict[str, int]:
  book = config.bookkeeping
  return {
    "threads": book.stream_threads or os.cpu_count() or 1,
    "workers": book.stream_workers,
  }


class _Rows(NamedTuple):
  """Some of the images of a split, under numbers of their own."""

  images: Images
  rows: np.ndarray

  def __call__(self, rows: np.ndarray, epoch: int) -> np.ndarray:
    return self.images(self.rows[rows], epoch)


def _frame(config: Any, split: stream.Split) -> frames.Frame:
  if config.central_fraction:
    return frames.Central(config.image_size, config.central_fraction)
  position = int(split.entries.position[0])
  (found, *_), _ = records.rows(split.source, [position], skip_damaged=False)
  data = found[1][split.keys.image]
  height, width, channels = records.decode(data, f"record {position}").shape
  if config.image_size > min(height, width):
    raise errors.ConfigError(
      f"config.image_size is {config.image_size}, but images have"
      f" {height}x{width} pixels; config.central_fraction=0.875 resizes them"
    )
  return frames.Whole((height, width, channels))


def _random_crop(run: Any) -> frames.RandomCrop | None:
  """What a regularizer wants cut out while images are decoded."""
  found = [r().frame for r in run.regularizers if r().frame is not None]
  if len(found) > 1:
    raise errors.ConfigError(
      "config.regularizers: only one of them can cut images out"
    )
  return frames.RandomCrop(run.config.image_size, **found[0]) if found else None


def _grey(split: stream.Split) -> example.Example:
  entries, channels = split.entries, split.info.shape[-1]
  pixels = np.zeros((len(entries.id), 1, 1, channels), np.uint8)
  return example.Example(
    entries.id, pixels, entries.label, entries.label.copy()
  )


def _subset(
  split: stream.Split, n: int, config: Any, context: example.Context
) -> stream.Split:
  part = datasets.subset(
    _grey(split),
    n,
    config.data_seed,
    context.info.num_classes,
    balanced=config.balanced_subset,
  )
  return split.take(np.searchsorted(split.entries.id, part.id))
