"""Reads a folder of images, <split>/<class>/<name>.jpg or .png."""

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
  """Returns all images below `directory` as a data set of equal sizes.

  The classes are the folders in all splits, sorted. An example is named by its
  path below the split.

  Args:
    directory: contains a folder per split, with a folder per class.
    image_size: side in pixels to which the central square of every image is
      resized; None stores the files unchanged, all of which must then have the
      same size.

  Raises:
    DataError: naming the folder or file that is wrong, and what to do.
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
  """Writes image files unchanged, with their own sizes; returns the folder.

  It writes shards on all cores, so any number of images works, and an
  interrupted attempt is continued. Names and classes are those of `source`.

  Args:
    name: name of the new data set.
    directory: contains a folder per split, with a folder per class.
    data_dir: folder of the prepared data sets.
    skip_damaged: leave out images that cannot be decoded, instead of raising.

  Raises:
    DataError: naming the folder or file that is wrong, and what to do.
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
    writer.require_absent(folder)
    plan = shards.Plan(splits, "id", shards.unchanged, skip_damaged)
    return shards.write(writer.builder(name, source), plan, data_dir)


def _described(classes: tuple[str, ...]) -> str:
  return f"Images of {len(classes)} classes from a folder tree."


def _listed(
  directory: str,
) -> tuple[pathlib.Path, dict[str, list[pathlib.Path]], tuple[str, ...]]:
  """Finds the images; returns (root, files by split, classes of all splits)."""
  root = pathlib.Path(directory).expanduser()
  if not root.is_dir():
    raise errors.DataError(
      f"--folder={directory} is no folder; give the folder that contains"
      " <split>/<class>/*.jpg or *.png"
    )
  files: dict[str, list[pathlib.Path]] = {}
  left_out = 0
  for split in sorted(path for path in root.iterdir() if path.is_dir()):
    for folder in sorted(path for path in split.iterdir() if path.is_dir()):
      if folder.name[0] == ".":  # made by a tool, such as .ipynb_checkpoints
        continue
      found = [p for p in sorted(folder.iterdir()) if p.name[0] != "."]
      images = [p for p in found if p.suffix.lower() in _SUFFIXES]
      if found and not images:
        raise errors.DataError(
          f"{folder} has no *.jpg or *.png, so its class would be missing;"
          " convert its files, or move the folder away"
        )
      left_out += len(found) - len(images)
      if images:
        files.setdefault(split.name, []).extend(images)
  if left_out:
    print(
      f"rethink: {left_out:,} files that are no *.jpg or *.png are left out;"
      " convert them if they belong to the data set",
      file=sys.stderr,
    )
  for split in files:
    if not re.fullmatch(r"\w+(-\w+)*", split) or split == "all":
      raise errors.DataError(
        f"{root / split}: {split!r} cannot be the name of a split; rename the"
        " folder, using letters, digits, underscores and dashes, but not 'all'"
      )
  if "train" not in files:
    raise errors.DataError(
      f"--folder={directory} has no images in train/<class>/; arrange them as"
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
        f"{path} has shape {found}, but other images have {shape}; give"
        " --resize=N to crop and resize all images, or --keep_sizes to"
        " store them unchanged"
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
