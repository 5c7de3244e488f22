"""Turns arrays of images into uint8[n, height, width, 1 or 3]."""

from collections.abc import Mapping

import numpy as np

from rethink import errors
from rethink.prepare import remarks


def images(
  arrays: Mapping[str, np.ndarray],
  where: str,
  notes: remarks.Remarks,
  *,
  scale_16bit: bool,
) -> dict[str, np.ndarray]:
  """Returns images of one size, by the names of their arrays.

  Whole numbers from 0 to 255 of another dtype, booleans, channels that come
  first and an alpha channel that says nothing are converted, with a remark.

  Args:
    arrays: of all splits, by name.
    where: the file, for messages.
    notes: takes the remarks.
    scale_16bit: divide values up to 65,535 by 257, rounding to the nearest.

  Raises:
    DataError: naming the array, what is wrong with it, and what to do.
  """
  for key, array in arrays.items():
    _require_axes(array, f"{where}: {key}")
  shapes = {key: array.shape[1:] for key, array in arrays.items()}
  if len(set(shapes.values())) != 1:
    raise errors.DataError(
      f"{where}: all images must have one size and one number of channels, not"
      f" {', '.join(f'{s} ({key})' for key, s in shapes.items())}"
    )
  kinds = {array.dtype for array in arrays.values()}
  if len(kinds) != 1:
    raise errors.DataError(
      f"{where}: {' and '.join(arrays)} have different dtypes,"
      f" {' and '.join(sorted(map(str, kinds)))}, so that their scales may"
      " differ; store both as uint8, 0 to 255"
    )
  found = _channels_last(arrays, where, notes)
  found = _bytes(found, where, notes, scale_16bit=scale_16bit)
  return {
    key: _without_alpha(array, f"{where}: {key}", notes)
    for key, array in found.items()
  }


def _require_axes(array: np.ndarray, where: str) -> None:
  if array.ndim == 2:
    side = int(array.shape[1] ** 0.5)
    shape = f"-1, {side}, {side}" if side**2 == array.shape[1] else "-1, h, w"
    raise errors.DataError(
      f"{where} has flat images, {list(array.shape)}; give them their height"
      f" and width: x.reshape({shape})"
    )
  if array.ndim not in (3, 4):
    raise errors.DataError(
      f"{where} must be uint8[n, height, width(, channels)], not"
      f" {array.dtype}{list(array.shape)}"
    )
  if not array.size:
    raise errors.DataError(
      f"{where} has no {'images' if not len(array) else 'pixels'}: its shape is"
      f" {list(array.shape)}"
    )


def _channels_last(
  arrays: Mapping[str, np.ndarray], where: str, notes: remarks.Remarks
) -> dict[str, np.ndarray]:
  """Adds the axis of channels, or moves it to the end."""
  found = {}
  for key, array in arrays.items():
    if array.ndim == 3:
      found[key] = array[..., None]
      continue
    first, last = array.shape[1], array.shape[3]
    if last in (1, 3) or (last in (2, 4) and first not in (1, 3)):
      found[key] = array
    elif first in (1, 3, 4) and last not in (2, 4):
      notes.add(
        f"images of {where}: {key} have their {first} channels first,"
        f" {list(array.shape)}: these are moved to the end",
        count=len(array),
      )
      found[key] = np.moveaxis(array, 1, -1)
    else:
      raise errors.DataError(
        f"{where}: {key} must have 1 or 3 channels in its last axis, not the"
        f" shape {list(array.shape)}; np.moveaxis(x, 1, -1) moves channels to"
        " the end"
      )
  return found


def _bytes(
  arrays: Mapping[str, np.ndarray],
  where: str,
  notes: remarks.Remarks,
  *,
  scale_16bit: bool,
) -> dict[str, np.ndarray]:
  """Converts to uint8 what is whole and from 0 to 255, or as asked for."""
  (dtype,) = {array.dtype for array in arrays.values()}
  keys, n = " and ".join(arrays), sum(map(len, arrays.values()))
  where = f"{where}: {keys} must be uint8, not {dtype}"
  if dtype.kind == "b":
    notes.add(f"images of {keys} hold False and True: 0 and 255", count=n)
    return {k: x.astype(np.uint8) * np.uint8(255) for k, x in arrays.items()}
  if dtype.kind not in "iuf":
    raise errors.DataError(f"{where}; store pixels as numbers from 0 to 255")
  if dtype.kind == "f" and not all(
    np.isfinite(x).all() for x in arrays.values()
  ):
    raise errors.DataError(f"{where}, with values that are not finite")
  low = min(float(x.min()) for x in arrays.values())
  high = max(float(x.max()) for x in arrays.values())
  whole = dtype.kind != "f" or all(
    (x == np.round(x)).all() for x in arrays.values()
  )
  if low < 0:
    raise errors.DataError(
      f"{where}, with values from {low:g} to {high:g}; bring them back to 0 to"
      " 255"
      + (", by x.view(np.uint8) if they wrapped" if dtype == np.int8 else "")
      + ", and store them as uint8"
    )
  if dtype.kind == "f" and (not whole or high <= 1):
    raise errors.DataError(
      f"{where}, with values from {low:g} to {high:g}; store them as"
      + (
        " (x * 255).round().astype(np.uint8)"
        if high <= 1
        else " x.round().astype(np.uint8) if they are meant to be 0 to 255"
      )
    )
  if high > 255:
    if not whole or high > 65535:
      raise errors.DataError(
        f"{where}, with values up to {high:g}; scale them to 0 to 255"
      )
    if not scale_16bit:
      raise errors.DataError(
        f"{where}, with values up to {high:g}; give --scale_16bit to divide"
        " them by 257 (65535 becomes 255), or scale them yourself"
      )
  if scale_16bit and dtype != np.uint8:
    notes.add(
      f"images of {keys} are divided by 257 (the largest value was {high:g})",
      count=n,
    )
    return {k: scaled(x) for k, x in arrays.items()}
  if dtype != np.uint8:
    notes.add(
      f"images of {keys} hold whole numbers from {low:g} to {high:g} in"
      f" {dtype}: stored as uint8",
      count=n,
    )
  if high <= 63:
    notes.add(
      f"images of {keys} are dark: the largest value is {high:g} of 255",
      count=n,
    )
  return {k: x.astype(np.uint8) for k, x in arrays.items()}


def scaled(image: np.ndarray) -> np.ndarray:
  """Divides values from 0 to 65,535 by 257, to the nearest of 0 to 255."""
  return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _without_alpha(
  array: np.ndarray, where: str, notes: remarks.Remarks
) -> np.ndarray:
  """Drops an alpha channel that is the same in all pixels of an image."""
  channels = array.shape[-1]
  if channels in (1, 3):
    return array
  alpha = array[..., -1].reshape(len(array), -1)
  varies = np.flatnonzero((alpha != alpha[:, :1]).any(1))
  if len(varies):
    raise errors.DataError(
      f"{where} has an alpha channel that shows something ({len(varies)} of"
      f" {len(array)} images, such as number {varies[0]}), which would be lost;"
      " blend the images with a background first, for white:"
      " 255 - (255 - x[..., :-1].astype(int)) * x[..., -1:] // 255"
    )
  notes.add(
    f"images of {where} have an alpha channel that is the same everywhere: it"
    " is left out",
    count=len(array),
  )
  return array[..., :-1]
