"""Reads arrays from an .npz file with the layout of Keras's mnist.npz."""

import pathlib

import numpy as np

from rethink import errors
from rethink.prepare import labels, pixels, remarks, writer

_SPLITS = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}
_SHOWN = 20  # classes of a remapping that are printed


def source(
  path: str,
  *,
  remap_labels: bool = False,
  scale_16bit: bool = False,
  unseen_classes: bool = False,
) -> writer.Source:
  """Reads images and labels of both splits.

  Images are uint8[n, h, w] or [n, h, w, c], labels integers 0..k-1 or text,
  [n] or [n, 1]; `pixels.images` and `labels.classes` say what else is taken. An
  example is named by its split and position.

  Args:
    path: of the file.
    remap_labels: make classes of any whole numbers, in ascending order.
    scale_16bit: divide pixels up to 65,535 by 257.
    unseen_classes: accept classes that have no training images.

  Raises:
    DataError: naming the array that is missing or wrong, and what to do.
  """
  where = f"--npz={path}"
  notes = remarks.Remarks()
  arrays = _read(path, where, notes)
  images = pixels.images(
    {x: arrays[x] for x, _ in _SPLITS.values()},
    where,
    notes,
    scale_16bit=scale_16bit,
  )
  found = labels.classes(
    {s: (y, arrays[y], len(arrays[x])) for s, (x, y) in _SPLITS.items()},
    where,
    notes,
    remap=remap_labels,
    unseen=unseen_classes,
  )
  description = "Arrays of images and labels."
  if found.remapped:
    pairs = [f"{value} -> {c}" for value, c in found.remapped.items()]
    # The class names, too, are the values, so that the whole mapping is there.
    description += f" Labels remapped: {', '.join(pairs)}."
    left = len(pairs) - _SHOWN
    notes.add(
      f"labels are remapped: {', '.join(pairs[:_SHOWN])}"
      + (f" and {left:,} more" if left > 0 else ""),
      count=len(pairs),
    )
  shape = images["x_train"].shape
  return writer.Source(
    description,
    found.names,
    (shape[1], shape[2], shape[3]),
    {
      split: _items(split, images[x], found.labels[split], found.names)
      for split, (x, _) in _SPLITS.items()
    },
    notes,
  )


def _read(
  path: str, where: str, notes: remarks.Remarks
) -> dict[str, np.ndarray]:
  """Returns the arrays of the file by name."""
  file_path = pathlib.Path(path).expanduser()
  if file_path.exists() and not file_path.is_file():
    # A pipe would wait for ever.
    raise errors.DataError(f"{where} cannot be read: it is no regular file")
  keys = [key for pair in _SPLITS.values() for key in pair]
  try:
    with np.load(file_path) as file:  # refuses pickles, which could run code
      missing = [key for key in keys if key not in file.files]
      arrays = {} if missing else {key: file[key] for key in keys}
      there = list(file.files)
  except Exception as error:  # zip, zlib, header and pickle faults
    raise errors.DataError(f"{where} cannot be read: {error}") from None
  if missing:
    raise errors.DataError(
      f"{where} has no array {missing[0]!r}; it needs x_train, y_train, x_test"
      f" and y_test; there are: {', '.join(there)}"
    )
  for key in there:
    if key not in keys:
      notes.add(f"other arrays of {where} are left out", key)
  return arrays


def _items(
  split: str, images: np.ndarray, label: np.ndarray, names: tuple[str, ...]
):
  for i, (image, position) in enumerate(zip(images, label, strict=True)):
    yield writer.Item(f"{split}_{i:05d}", image, names[position])
