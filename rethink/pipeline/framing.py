"""Crops or resizes stored images to the size that a model sees.

Cropping cuts the central `config.image_size` pixels out and leaves them as they
are; resizing scales the central `config.central_fraction` of an image to so
many pixels. Both mean the same on the resident and on the streamed path.
"""

from typing import Any

import numpy as np

from rethink import errors, example
from rethink.pipeline import crops, datasets, decoding, splits, tfds_records

_TOGETHER = 256  # images that are decoded at a time


def resizes(config: Any) -> bool:
  """Returns True if images are resized, False if they are cropped.

  Methods whose config has no field `framing` crop.

  Raises:
    ConfigError: if the fields do not say to which size, or of what.
  """
  if "framing" not in config:
    return False
  default = example.default_framing(
    config.pipeline, config.central_fraction, config.image_size
  )
  if (config.framing or default) == "crop":
    return False
  for field, meaning in (
    ("image_size", "the pixels to resize to"),
    ("central_fraction", "the part of an image to keep; 1.0 is all of it"),
  ):
    if not config[field]:
      raise errors.ConfigError(
        f"config.framing='resize' needs config.{field}, {meaning}"
      )
  return True


def side(config: Any, stored: tuple[int, int], name: str) -> int:
  """Returns the side in pixels of what a model sees of images of one size.

  Args:
    config: its `image_size` is used; 0 is the whole image.
    stored: height and width.
    name: of the data set.

  Raises:
    ConfigError: if the images are smaller, or are no squares and not cropped.
  """
  height, width = stored
  size = config.image_size
  if not size and height != width:
    raise errors.ConfigError(
      f"the images of {name} have {height}x{width} pixels, but models see"
      f" squares; config.image_size={min(stored)} crops them to their centre,"
      " config.framing='resize' with a config.image_size scales them"
    )
  if size > min(stored):
    raise errors.ConfigError(
      f"config.image_size is {size}, but the images of {name} have"
      f" {height}x{width} pixels; config.framing='resize' enlarges them, with"
      " config.central_fraction=0.875 of each, say"
    )
  return size or height


def frame(config: Any, split: decoding.Split) -> crops.Frame:
  """Returns the frame of a streamed split's images, before any crop.

  Args:
    config: of the run.
    split: whose first image says the stored size.

  Raises:
    ConfigError: if the fields do not say to which size, or of what.
    DataError: if that image is damaged.
  """
  if resizes(config):
    return crops.Central(config.image_size, config.central_fraction)
  position = int(split.entries.position[0])
  ((_, record),) = split.read([position])
  data = record[split.keys.image]
  return crops.Whole(tfds_records.decode(data, f"record {position}").shape)


def info(of: example.DatasetInfo, framed: crops.Frame) -> example.DatasetInfo:
  """Returns the facts that corruptions are told: those of framed images."""
  channels = framed.shape[-1]
  mean, std = (
    values * (channels if len(values) == 1 else 1)
    for values in (of.mean, of.std)
  )
  return of._replace(shape=framed.shape, mean=mean, std=std)


def load(config: Any, data_dir: str) -> datasets.Dataset:
  """Reads the splits of a run into memory, resized as they would be streamed.

  Args:
    config: of a run that resizes.
    data_dir: folder of the prepared data sets.

  Raises:
    DataError: if data are missing or damaged.
    ConfigError: if there is no such split.
  """
  framed = crops.Central(config.image_size, config.central_fraction)
  found, names = {}, {}
  opened = [
    decoding.open_split(
      config.dataset,
      data_dir,
      splits.parse(config[field], field).name,
      skip_damaged=config.skip_damaged,
    )
    for field in ("train_split", "test_split")
  ]
  for split in opened:
    if split.name in found:
      continue
    decoded = decoding.Decoded(split, framed, config.seed, decoding.cores())
    label, n = split.entries.label, len(split.entries.id)
    images, named = np.empty((n, *framed.shape), np.uint8), []
    for start in range(0, n, _TOGETHER):
      rows = np.arange(start, min(start + _TOGETHER, n))
      images[rows] = decoded(rows, 0)
      named += split.names(rows)
    examples = example.Example(split.entries.id, images, label, label.copy())
    found[split.name], names[split.name] = examples, np.array(named)
  first = opened[0]
  return datasets.Dataset(info(first.info, framed), found, names, first.skipped)
