"""Writes a classification data set as TFDS does, without TensorFlow."""

import io
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from rethink import errors
from rethink.prepare import exclusive

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
    shape: (height, width, channels) of every image; None where they differ.
    splits: what is to be written, by split.
  """

  description: str
  classes: tuple[str, ...]
  shape: tuple[int | None, int | None, int]
  splits: Mapping[str, Iterable[Item]]


class Content(NamedTuple):
  """What a builder of TFDS's data sets reads from their archives.

  Attributes:
    class_names: by label feature, where they come with the archives.
    splits: by split, the features of its examples; the position is the key by
      which TFDS shuffles.
  """

  class_names: Mapping[str, Sequence[str]]
  splits: Mapping[str, Iterable[Mapping[str, Any]]]


def write(
  name: str, source: Source, data_dir: str, *, keep: bool = False
) -> pathlib.Path:
  """Writes `data_dir/name/1.0.0`, whole or not at all; returns the folder.

  Args:
    name: of the data set.
    source: its content.
    data_dir: holds the prepared data sets.
    keep: one that is there already is as good, for the content never changes.

  Raises:
    DataError: if it is there already and not to be kept, or cannot be written.
  """
  folder = pathlib.Path(data_dir).expanduser() / name / VERSION
  if keep and folder.exists():  # also on a disk that takes no lock
    return folder
  with exclusive.one_preparer(name, data_dir):
    if keep and folder.exists():
      return folder
    refuse(folder)
    build(builder(name, source), data_dir)
  return folder


def refuse(folder: pathlib.Path) -> None:
  """Raises a DataError if the folder of a data set is there already."""
  if folder.exists():
    raise errors.DataError(
      f"data set {folder.parent.name!r} is in {folder} already; delete that"
      " folder first if it is to be made anew"
    )


def builder(name: str, source: Source) -> Any:
  """The class of a builder that writes a source."""
  import tensorflow_datasets as tfds

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
        image = item.image
        if isinstance(image, bytes):
          image = io.BytesIO(image)
        else:
          image = png(image)
        yield (
          item.name,
          {"id": item.name, "image": image, "label": item.label},
        )

  Builder.name = name
  return Builder


def build(builder_class, data_dir: str) -> None:
  """Lets a builder write its data set; the caller holds the lock.

  Args:
    builder_class: a tfds.core.GeneratorBasedBuilder that downloads nothing.
    data_dir: holds the prepared data sets.

  Raises:
    DataError: if it cannot be written; nothing of it is left then.
  """
  import tensorflow_datasets as tfds

  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  name = builder_class.name
  root = pathlib.Path(data_dir).expanduser()
  try:
    clear(root / name, str(builder_class.VERSION))
    builder = builder_class(data_dir=str(root), file_format="array_record")
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
      f"cannot write data set {name!r} to {root / name}: {error}"
    ) from error


def clear(root: pathlib.Path, version: str) -> None:
  """Removes what a killed preparer left; the lock says that none is alive."""
  for left in root.glob(f"incomplete.*_{version}"):
    shutil.rmtree(left)


def png(image: np.ndarray) -> io.BytesIO:
  """Encodes uint8[h, w, c]; TFDS itself would need TensorFlow for it."""
  image = image[..., 0] if image.shape[-1] == 1 else image
  buffer = io.BytesIO()
  PIL.Image.fromarray(image).save(buffer, format="PNG")
  buffer.seek(0)
  return buffer
