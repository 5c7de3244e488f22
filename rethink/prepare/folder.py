"""A folder of images: <split>/<class>/<name>.jpg or .png."""

import pathlib
import re

import cv2
import numpy as np

from rethink import errors, records
from rethink.prepare import writer

_SUFFIXES = (".jpg", ".jpeg", ".png")


def source(directory: str, image_size: int | None) -> writer.Source:
  """All images below `directory`; classes are those of all splits, sorted.

  An example is named by its path below the split.

  Args:
    directory: holds a folder per split, which holds a folder per class.
    image_size: pixels; every image is cut to its central square and resized
      to this. None stores the files as they are; they must have one size.

  Raises:
    DataError: naming the folder or file that is not as it should be.
  """
  root = pathlib.Path(directory).expanduser()
  if not root.is_dir():
    raise errors.DataError(f"--folder={directory} is no folder")
  files = {
    split.name: sorted(
      path
      for path in split.glob("*/*")
      if path.suffix.lower() in _SUFFIXES and path.is_file()
    )
    for split in sorted(root.iterdir())
    if split.is_dir()
  }
  files = {split: paths for split, paths in files.items() if paths}
  for split in files:
    if not re.fullmatch(r"\w+(-\w+)*", split) or split == "all":
      raise errors.DataError(
        f"{root / split}: {split!r} cannot be the name of a split; use letters,"
        " digits, underscores and dashes, and not 'all'"
      )
  if "train" not in files:
    raise errors.DataError(
      f"--folder={directory} has no images in train/<class>/; wanted is"
      " <split>/<class>/*.jpg or *.png, with a split named train"
    )
  classes = sorted({p.parent.name for paths in files.values() for p in paths})
  first = _read(files["train"][0], image_size)
  shape = _image(first, files["train"][0]).shape
  return writer.Source(
    f"Images of {len(classes)} classes from a folder tree.",
    tuple(classes),
    (shape[0], shape[1], shape[2]),
    {
      split: _items(root / split, paths, image_size, shape)
      for split, paths in files.items()
    },
  )


def _items(root, paths, image_size, shape):
  for path in paths:
    data = _read(path, image_size)
    found = _image(data, path).shape
    if found != shape:
      raise errors.DataError(
        f"{path} has shape {found}, others have {shape}; give --image_size=N"
        " to cut and resize every image"
      )
    yield writer.Item(str(path.relative_to(root)), data, path.parent.name)


def _image(data: bytes | np.ndarray, path: pathlib.Path) -> np.ndarray:
  return records.decode(data, str(path)) if isinstance(data, bytes) else data


def _read(path: pathlib.Path, image_size: int | None) -> bytes | np.ndarray:
  data = path.read_bytes()
  if image_size is None:
    return data
  image = records.decode(data, str(path))
  if image.shape[-1] == 1:
    image = np.repeat(image, 3, axis=-1)
  side = min(image.shape[:2])
  top, left = ((length - side) // 2 for length in image.shape[:2])
  square = image[top : top + side, left : left + side]
  return cv2.resize(
    square, (image_size, image_size), interpolation=cv2.INTER_AREA
  )
