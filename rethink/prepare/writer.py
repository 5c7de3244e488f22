"""Writes image classification data sets as TFDS does, without TensorFlow."""

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
from rethink.prepare import exclusive, remarks

VERSION = "1.0.0"


class Item(NamedTuple):
  """One example to write.

  Attributes:
    name: unique within the split; the permanent identity of the example.
    image: an encoded PNG or JPEG, stored unchanged, or uint8[h, w, c].
    label: name of the class.
  """

  name: str
  image: bytes | np.ndarray
  label: str


class Source(NamedTuple):
  """A data set to write.

  Attributes:
    description: one sentence on where the images come from.
    classes: names of the classes; the label is the position.
    shape: (height, width, channels) of every image; None where they differ.
    splits: the examples of each split.
    notes: what the person who brings the data is told when they are written.
  """

  description: str
  classes: tuple[str, ...]
  shape: tuple[int | None, int | None, int]
  splits: Mapping[str, Iterable[Item]]
  notes: remarks.Remarks | None = None


class Content(NamedTuple):
  """The content of the official archives of a data set.

  Attributes:
    class_names: class names by label feature, if the archives contain them.
    splits: for each split, the features of its examples. TFDS shuffles by a
      hash of the position.
  """

  class_names: Mapping[str, Sequence[str]]
  splits: Mapping[str, Iterable[Mapping[str, Any]]]


def write(
  name: str, source: Source, data_dir: str, *, keep: bool = False
) -> pathlib.Path:
  """Writes `data_dir/name/1.0.0` completely or not at all; returns the folder.

  Args:
    name: name of the data set.
    source: its content.
    data_dir: folder of the prepared data sets.
    keep: accept an existing data set; for sources whose content is fixed.

  Raises:
    DataError: if the data set exists and `keep` is False, or if it cannot be
      written.
  """
  folder = pathlib.Path(data_dir).expanduser() / name / VERSION
  if keep and folder.exists():  # before locking: a read-only disk takes no lock
    return folder
  with exclusive.one_preparer(name, data_dir):
    if keep and folder.exists():
      return folder
    require_absent(folder)
    build(builder(name, source), data_dir)
  if source.notes:
    source.notes.say()
  return folder


def require_absent(folder: pathlib.Path) -> None:
  """Raises a DataError if the folder of a data set exists already."""
  if folder.exists():
    raise errors.DataError(
      f"data set {folder.parent.name!r} exists already in {folder}; to make it"
      " again, delete that folder first"
    )


def builder(name: str, source: Source) -> Any:
  """Returns the class of a tfds builder that writes a source."""
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
  """Writes the data set of a builder; the caller holds the lock.

  Args:
    builder_class: a tfds.core.GeneratorBasedBuilder that downloads nothing.
    data_dir: folder of the prepared data sets.

  Raises:
    DataError: if it cannot be written; nothing of it is left on disk then.
  """
  import tensorflow_datasets as tfds

  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  name = builder_class.name
  root = pathlib.Path(data_dir).expanduser()
  try:
    remove_incomplete(root / name, str(builder_class.VERSION))
    builder = builder_class(data_dir=str(root), file_format="array_record")
    with tempfile.TemporaryDirectory() as unused:
      builder.download_and_prepare(
        download_dir=unused,
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
      )
  except ImportError as error:
    # Beyond 1 GiB, TFDS shuffles in files that it writes with TensorFlow.
    raise errors.DataError(
      f"data set {name!r} has a split of over 1 GiB, which only TensorFlow can"
      " write; install it: pip install -c constraints.txt -e '.[prepare]'"
    ) from error
  except (OSError, RuntimeError) as error:  # RuntimeError is ArrayRecord's
    raise errors.DataError(
      f"cannot write data set {name!r} to {root / name}: {error}"
    ) from error


def remove_incomplete(root: pathlib.Path, version: str) -> None:
  """Removes the files of an interrupted attempt; the caller holds the lock."""
  for left in root.glob(f"incomplete.*_{version}"):
    shutil.rmtree(left)


def png(image: np.ndarray) -> io.BytesIO:
  """Encodes uint8[h, w, c] as PNG, which TFDS itself does with TensorFlow."""
  image = image[..., 0] if image.shape[-1] == 1 else image
  buffer = io.BytesIO()
  PIL.Image.fromarray(image).save(buffer, format="PNG")
  buffer.seek(0)
  return buffer
