"""A folder of images: <split>/<class>/<name>.jpg or .png."""

import pathlib
import re
import sys

import cv2
import numpy as np

from rethink import errors
from rethink.pipeline import tfds_records
from rethink.prepare import exclusive, shard_jobs, shards, writer

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
  root, files, classes = _listed(directory)
  first = _read(files["train"][0], image_size)
  shape = _image(first, files["train"][0]).shape
  return writer.Source(
    _described(classes),
    classes,
    (shape[0], shape[1], shape[2]),
    {
      split: _items(root / split, paths, image_size, shape)
      for split, paths in files.items()
    },
  )


def prepare(
  name: str, directory: str, data_dir: str, *, skip_damaged: bool
) -> pathlib.Path:
  """Writes images that keep their sizes and bytes; returns the folder.

  As many as the disk takes: they are written in shards, on all cores, and an
  interrupted attempt goes on where it was. Names and classes as in `source`.

  Args:
    name: of the data set.
    directory: holds a folder per split, which holds a folder per class.
    data_dir: holds the prepared data sets.
    skip_damaged: leave out images that cannot be decoded, instead of raising.

  Raises:
    DataError: naming what is not as it should be.
  """
  root, files, classes = _listed(directory)
  labels = {c: label for label, c in enumerate(classes)}
  splits = {
    split: [
      shard_jobs.Piece(
        str(path.relative_to(root / split)),
        labels[path.parent.name],
        str(path),
        0,
        path.stat().st_size,
      )
      for path in paths
    ]
    for split, paths in files.items()
  }
  source = writer.Source(_described(classes), classes, (None, None, 3), {})
  folder = pathlib.Path(data_dir).expanduser() / name / writer.VERSION
  with exclusive.one_preparer(name, data_dir):
    writer.refuse(folder)
    plan = shards.Plan(splits, "id", shards.as_it_is, skip_damaged)
    return shards.write(writer.builder(name, source), plan, data_dir)


def _described(classes: tuple[str, ...]) -> str:
  return f"Images of {len(classes)} classes from a folder tree."


def _listed(
  directory: str,
) -> tuple[pathlib.Path, dict[str, list[pathlib.Path]], tuple[str, ...]]:
  """(root, files by split, classes of all splits)."""
  root = pathlib.Path(directory).expanduser()
  if not root.is_dir():
    raise errors.DataError(f"--folder={directory} is no folder")
  files: dict[str, list[pathlib.Path]] = {}
  left_out = 0
  for split in sorted(path for path in root.iterdir() if path.is_dir()):
    for folder in sorted(path for path in split.iterdir() if path.is_dir()):
      if folder.name[0] == ".":  # of some tool
        continue
      found = [p for p in sorted(folder.iterdir()) if p.name[0] != "."]
      images = [p for p in found if p.suffix.lower() in _SUFFIXES]
      if found and not images:
        raise errors.DataError(
          f"{folder} has no *.jpg or *.png, which would leave out its class;"
          " convert its files, or move it away"
        )
      left_out += len(found) - len(images)
      if images:
        files.setdefault(split.name, []).extend(images)
  if left_out:
    print(
      f"rethink: {left_out:,} files that are no *.jpg or *.png are left out",
      file=sys.stderr,
    )
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
  return root, files, tuple(classes)


def _items(root, paths, image_size, shape):
  for path in paths:
    data = _read(path, image_size)
    found = _image(data, path).shape
    if found != shape:
      raise errors.DataError(
        f"{path} has shape {found}, others have {shape}; give --image_size=N"
        " to cut and resize every image, or --keep_sizes"
      )
    yield writer.Item(str(path.relative_to(root)), data, path.parent.name)


def _image(data: bytes | np.ndarray, path: pathlib.Path) -> np.ndarray:
  return (
    tfds_records.decode(data, str(path)) if isinstance(data, bytes) else data
  )


def _read(path: pathlib.Path, image_size: int | None) -> bytes | np.ndarray:
  data = path.read_bytes()
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
