"""Reads a folder of images, <split>/<class>/<name>.jpg or .png."""

import functools
import pathlib

import cv2
import numpy as np

from rethink import errors
from rethink.pipeline import tfds_records
from rethink.prepare import (
  exclusive,
  pictures,
  remarks,
  shard_jobs,
  shards,
  tree,
  writer,
)


def source(
  directory: str,
  image_size: int | None,
  *,
  scale_16bit: bool = False,
  unseen_classes: bool = False,
) -> writer.Source:
  """Returns all images below `directory` as a data set of equal sizes.

  The classes are the folders in all splits, sorted; by value if all are
  numbers. An example is named by its path below the split.

  Args:
    directory: contains a folder per split, with a folder per class.
    image_size: side in pixels to which the central square of every image is
      resized; None stores the files unchanged, all of which must then have the
      same size.
    scale_16bit: divide the values of images of 16 bits by 257.
    unseen_classes: accept classes that have no training images.

  Raises:
    DataError: naming the folder or file that is wrong, and what to do.
  """
  notes = remarks.Remarks()
  found = tree.find(directory, notes, unseen=unseen_classes)
  notes.say()
  read = functools.partial(
    _read, image_size=image_size, scale_16bit=scale_16bit
  )
  path = found.files["train"][0]
  # Remarks are counted when the images are read once more, to be written.
  shape = _image(read(path, remarks.Remarks()), path).shape
  return writer.Source(
    _described(found.classes),
    found.classes,
    (shape[0], shape[1], shape[2]),
    {
      split: _items(found.root / split, paths, read, shape, notes)
      for split, paths in found.files.items()
    },
    notes,
  )


def prepare(
  name: str,
  directory: str,
  data_dir: str,
  *,
  skip_damaged: bool,
  scale_16bit: bool = False,
  unseen_classes: bool = False,
) -> pathlib.Path:
  """Writes image files unchanged, with their own sizes; returns the folder.

  It writes shards on all cores, so any number of images works, and an
  interrupted attempt is continued. Names and classes are those of `source`.

  Args:
    name: name of the new data set.
    directory: contains a folder per split, with a folder per class.
    data_dir: folder of the prepared data sets.
    skip_damaged: leave out images that cannot be decoded, instead of raising.
    scale_16bit: divide the values of images of 16 bits by 257.
    unseen_classes: accept classes that have no training images.

  Raises:
    DataError: naming the folder or file that is wrong, and what to do.
  """
  notes = remarks.Remarks()
  found = tree.find(directory, notes, unseen=unseen_classes)
  notes.say()
  labels = {c: label for label, c in enumerate(found.classes)}
  try:
    splits = {
      split: [
        shard_jobs.Piece(
          str(path.relative_to(found.root / split)),
          labels[path.parent.name],
          str(path),
          0,
          path.stat().st_size,
        )
        for path in paths
      ]
      for split, paths in found.files.items()
    }
  except OSError as error:
    raise errors.DataError(f"cannot read an image: {error}") from error
  source = writer.Source(
    _described(found.classes), found.classes, (None, None, 3), {}
  )
  folder = pathlib.Path(data_dir).expanduser() / name / writer.VERSION
  with exclusive.one_preparer(name, data_dir):
    writer.require_absent(folder)
    convert = functools.partial(pictures.checked, scale_16bit=scale_16bit)
    plan = shards.Plan(splits, "id", convert, skip_damaged)
    return shards.write(writer.builder(name, source), plan, data_dir)


def _described(classes: tuple[str, ...]) -> str:
  return f"Images of {len(classes)} classes from a folder tree."


def _items(root, paths, read, shape, notes):
  for path in paths:
    data = read(path, notes)
    found = _image(data, path).shape
    if found != shape:
      raise errors.DataError(
        f"{path} has shape {found}, but other images have {shape}; give"
        " --resize=N to crop and resize all images, or --keep_sizes to"
        " store them unchanged"
      )
    yield writer.Item(str(path.relative_to(root)), data, path.parent.name)


def _image(data: bytes | np.ndarray, path: pathlib.Path) -> np.ndarray:
  return (
    tfds_records.decode(data, str(path)) if isinstance(data, bytes) else data
  )


def _read(
  path: pathlib.Path,
  notes: remarks.Remarks,
  *,
  image_size: int | None,
  scale_16bit: bool,
) -> bytes | np.ndarray:
  try:
    data = path.read_bytes()
  except OSError as error:
    raise errors.DataError(f"{path} cannot be read: {error}") from error
  data = pictures.checked(str(path), data, notes.add, scale_16bit=scale_16bit)
  if image_size is None:
    return data
  image = tfds_records.decode(data, str(path))
  if image.shape[-1] == 1:
    image = np.repeat(image, 3, axis=-1)
  side = min(image.shape[:2])
  top, left = ((length - side) // 2 for length in image.shape[:2])
  square = image[top : top + side, left : left + side]
  return cv2.resize(
    square, (image_size, image_size), interpolation=cv2.INTER_AREA
  )
