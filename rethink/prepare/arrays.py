"""Reads arrays from an .npz file with the layout of Keras's mnist.npz."""

import numpy as np

from rethink import errors
from rethink.prepare import writer

_SPLITS = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}


def source(path: str) -> writer.Source:
  """Reads images and labels of both splits.

  Images are uint8[n, h, w] or [n, h, w, c], labels integers [n] or [n, 1]. An
  example is named by its split and position.

  Raises:
    DataError: naming the array that is missing or wrong.
  """
  try:
    with np.load(path) as file:  # refuses pickles, which could run code
      arrays = {key: file[key] for key in file.files}
  except Exception as error:  # zip, zlib, header and pickle faults
    raise errors.DataError(f"--npz={path} cannot be read: {error}") from None
  for keys in _SPLITS.values():
    for key in keys:
      if key not in arrays:
        raise errors.DataError(
          f"--npz={path} has no array {key!r}; it needs x_train, y_train,"
          f" x_test and y_test; there are: {', '.join(arrays)}"
        )
  splits, shapes, highest = {}, set(), 0
  for split, (x_key, y_key) in _SPLITS.items():
    images, labels = arrays[x_key], arrays[y_key].reshape(-1)
    if images.ndim == 3:
      images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
      raise errors.DataError(
        f"--npz={path}: {x_key} must be uint8[n, height, width(, channels)],"
        f" not {images.dtype}{list(images.shape)}"
      )
    if (
      labels.dtype.kind not in "iu"
      or len(labels) != len(images)
      or labels.min() < 0
    ):
      raise errors.DataError(
        f"--npz={path}: {y_key} must hold one integer >= 0 per image, the class"
      )
    shapes.add(images.shape[1:])
    highest = max(highest, int(labels.max()))
    splits[split] = _items(split, images, labels)
  if len(shapes) != 1 or next(iter(shapes))[-1] not in (1, 3):
    raise errors.DataError(
      f"--npz={path}: all images must have one size and 1 or 3 channels, not"
      f" {sorted(shapes)}"
    )
  return writer.Source(
    "Arrays of images and labels.",
    tuple(str(c) for c in range(highest + 1)),
    shapes.pop(),
    splits,
  )


def _items(split: str, images: np.ndarray, labels: np.ndarray):
  for i, (image, label) in enumerate(zip(images, labels, strict=True)):
    yield writer.Item(f"{split}_{i:05d}", image, str(label))
