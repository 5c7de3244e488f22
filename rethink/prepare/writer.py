"""Writes a classification data set as TFDS does, without TensorFlow."""

import io
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import PIL.Image

from rethink import errors

VERSION = "1.0.0"


class Item(NamedTuple):
  """One example on its way to disk.

  Attributes:
    name: unique within the split; the example's identity for ever.
    image: an encoded PNG or JPEG, stored as it is, or uint8[h, w, c].
    label: the class, by name.
  """

  name: str
  image: bytes | np.ndarray
  label: str


class Source(NamedTuple):
  """A data set before it is prepared.

  Attributes:
    description: one sentence: where the images come from.
    classes: names; the label is the position.
    shape: (height, width, channels) of every image.
    splits: what is to be written, by split.
  """

  description: str
  classes: tuple[str, ...]
  shape: tuple[int, int, int]
  splits: Mapping[str, Iterable[Item]]


def write(name: str, source: Source, data_dir: str) -> pathlib.Path:
  """Writes `data_dir/name/1.0.0`, whole or not at all; returns the folder.

  Raises:
    DataError: if it is there already, or cannot be written.
  """
  root = pathlib.Path(data_dir).expanduser() / name
  folder = root / VERSION
  if folder.exists():
    raise errors.DataError(
      f"data set {name!r} is in {folder} already; delete that folder first if"
      " it is to be made anew"
    )
  for left in root.glob(f"incomplete.*_{VERSION}"):
    shutil.rmtree(left)  # of a preparer that was killed
  import tensorflow_datasets as tfds

  if not sys.stderr.isatty():
    tfds.disable_progress_bar()

  class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version(VERSION)

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        description=source.description,
        features=tfds.features.FeaturesDict(
          {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=source.shape),
            "label": tfds.features.ClassLabel(names=list(source.classes)),
          }
        ),
        supervised_keys=("image", "label"),
      )

    def _split_generators(self, dl_manager):
      del dl_manager
      return {
        split: self._generate_examples(items)
        for split, items in source.splits.items()
      }

    def _generate_examples(self, items):
      for item in items:
        yield (
          item.name,
          {"id": item.name, "image": _encoded(item), "label": item.label},
        )

  Builder.name = name
  try:
    builder = Builder(data_dir=str(root.parent), file_format="array_record")
    with tempfile.TemporaryDirectory() as unused:
      builder.download_and_prepare(
        download_dir=unused,
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
      )
  except ImportError as error:  # TFDS spills what it shuffles through it
    raise errors.DataError(
      f"data set {name!r} has a split of over 1 GiB, which takes TensorFlow to"
      " write: pip install -c constraints.txt -e '.[prepare]'"
    ) from error
  except (OSError, RuntimeError) as error:  # ArrayRecord raises the latter
    raise errors.DataError(
      f"cannot write data set {name!r} to {root}: {error}"
    ) from error
  return folder


def _encoded(item: Item) -> io.BytesIO:
  if isinstance(item.image, bytes):
    return io.BytesIO(item.image)
  image = item.image[..., 0] if item.image.shape[-1] == 1 else item.image
  buffer = io.BytesIO()
  PIL.Image.fromarray(image).save(buffer, format="PNG")
  buffer.seek(0)
  return buffer
