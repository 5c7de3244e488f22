"""Turns arrays of labels into classes; refuses what may be meant otherwise."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rethink import errors
from rethink.prepare import class_names, remarks

_SHOWN = 20  # values in a message


class Classes(NamedTuple):
  """Labels of both splits as classes 0..k-1, each with examples.

  Attributes:
    names: one per class; the original values where these were remapped.
    labels: int64[n] by split.
    remapped: original value -> class, where `remap` was asked for and changes
      anything; else {}.
  """

  names: tuple[str, ...]
  labels: Mapping[str, np.ndarray]
  remapped: Mapping[str, int]


def classes(
  arrays: Mapping[str, tuple[str, np.ndarray, int]],
  where: str,
  notes: remarks.Remarks,
  *,
  remap: bool,
  unseen: bool,
) -> Classes:
  """Returns the classes that arrays of labels mean.

  Integers 0..k-1 are taken as they are; text becomes classes of these names.
  Whole numbers stored as floats, booleans and one-hot rows are converted, with
  a remark.

  Args:
    arrays: by split, (name of the array, the array, number of images).
    where: the file, for messages.
    notes: takes the remarks.
    remap: make classes of any whole numbers, in ascending order.
    unseen: accept classes that have no training examples.

  Raises:
    DataError: naming the array, what is wrong with it, and what to do.
  """
  flat = {
    split: _flat(array, f"{where}: {key}", n, notes)
    for split, (key, array, n) in arrays.items()
  }
  widths = {
    array.shape[1] if _one_hot(array) else 1 for _, array, _ in arrays.values()
  }
  keys = " and ".join(key for key, _, _ in arrays.values())
  if len(widths) > 1 or len({x.dtype.kind == "U" for x in flat.values()}) > 1:
    found = ", ".join(
      f"{a.dtype}{list(a.shape)}" for _, a, _ in arrays.values()
    )
    raise errors.DataError(
      f"{where}: {keys} hold labels of different kinds, {found}; store both as"
      " one integer per image"
    )
  # Python's integers: NumPy would join int64 and uint64 to floats.
  unique = {s: np.unique(x, return_inverse=True) for s, x in flat.items()}
  values = {v for found, _ in unique.values() for v in found.tolist()}
  text = all(isinstance(v, str) for v in values)
  if text:
    order: list = list(class_names.in_order(values))
    class_names.require(order, f"{where} ({keys})")
  else:
    order = sorted(values)
    if max(widths) > 1 and len(order) != max(widths) and not remap:
      column = min(set(range(max(widths))) - values)
      raise errors.DataError(
        f"{where}: {keys} have {max(widths)} columns, one per class, but no"
        f" example has a 1 in column {column}; take the column out of both, or"
        " give --remap_labels to leave such classes out"
      )
    if order != list(range(len(order))) and not remap:
      raise _not_contiguous(order, f"{where}: {keys}", arrays)
  position = {value: i for i, value in enumerate(order)}
  names = tuple(str(value) for value in order)
  labels = {
    split: np.array([position[v] for v in found.tolist()], np.int64)[inverse]
    for split, (found, inverse) in unique.items()
  }
  class_names.require_learnable(
    class_names.counted(names, labels), where, notes, unseen=unseen
  )
  n = len(labels["train"])
  if 2 * len(names) > n >= 20:
    notes.add(
      f"classes for {n:,} training images: are these labels, or numbers that"
      " name the images?",
      count=len(names),
    )
  same = text or order == list(range(len(order)))
  position = {name: i for i, name in enumerate(names)}
  return Classes(names, labels, {} if same else position)


def _one_hot(array: np.ndarray) -> bool:
  return array.ndim == 2 and array.shape[1] > 1


def _flat(
  array: np.ndarray, where: str, n: int, notes: remarks.Remarks
) -> np.ndarray:
  """Returns integers or text [n]."""
  if array.ndim == 2 and array.shape[1] == 1:
    array = array[:, 0]
  if array.ndim not in (1, 2) or len(array) != n:
    raise errors.DataError(
      f"{where} has the shape {list(array.shape)}, but there are {n} images; it"
      " must hold one label per image, and the first axis of the images counts"
      " them"
    )
  if array.ndim == 2:
    ones = (array == 1).sum(1) if array.dtype.kind in "biuf" else None
    if ones is None or (ones != 1).any() or ((array != 0).sum(1) != 1).any():
      raise errors.DataError(
        f"{where} has the shape {list(array.shape)}, but its rows are not"
        " one-hot (a single 1 among zeros); it must hold one label per image,"
        " such as np.argmax(y, axis=1)"
      )
    notes.add(
      f"labels of {where} are one-hot rows of {array.shape[1]} columns: the"
      " class is the column of the 1",
      count=n,
    )
    return array.argmax(1)
  kind = array.dtype.kind
  if kind == "b":
    notes.add(f"labels of {where} are False or True: classes 0 and 1", count=n)
    return array.astype(np.int64)
  if kind == "f":
    # Beyond this, neighbouring whole numbers are one number.
    limit = 2 ** (np.finfo(array.dtype).nmant + 1)
    if not np.isfinite(array).all() or (array != np.round(array)).any():
      wrong = array[~np.isfinite(array) | (array != np.round(array))][0]
      raise errors.DataError(
        f"{where} holds {wrong}, which is no class; labels are whole numbers or"
        " text (numbers to be predicted have to be cut into classes first)"
      )
    if np.abs(array).max() > limit:
      raise errors.DataError(
        f"{where} holds {np.abs(array).max():.0f}, which {array.dtype} cannot"
        " tell from its neighbours; store the labels as integers"
      )
    notes.add(
      f"labels of {where} are whole numbers in {array.dtype}: taken as"
      " integers",
      count=n,
    )
    return array.astype(np.int64)
  if kind == "S":
    try:
      return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
      raise errors.DataError(
        f"{where} holds text that is not UTF-8 ({error}); store it as such"
      ) from None
  if kind not in "iuU":
    raise errors.DataError(
      f"{where} has the dtype {array.dtype}; labels are integers or text"
    )
  return array


def _not_contiguous(
  order: list[int],
  where: str,
  arrays: Mapping[str, tuple[str, np.ndarray, int]],
) -> errors.DataError:
  """Returns the error for labels that are not 0..k-1, with the likely cause."""
  shown = ", ".join(map(str, order[:_SHOWN]))
  shown += f", ..., {order[-1]}" if len(order) > _SHOWN else ""
  cause = ""
  tops = {
    int(np.iinfo(a.dtype).max): a.dtype
    for _, a, _ in arrays.values()
    if a.dtype.kind == "u"
  }
  if order[0] < 0:
    cause = (
      f"; {order[0]} often marks images without a label, which have to be taken"
      " out"
    )
  for top, dtype in tops.items():
    if top - 100 < order[-1] <= top and order[-1] - len(order) > 100:
      cause = f"; {order[-1]} is what {order[-1] - top - 1} becomes in {dtype}"
  missing = []
  if order[-1] < len(order) + _SHOWN:
    missing = sorted(set(range(order[-1])) - set(order))
  if not cause and order == list(range(1, len(order) + 1)):
    cause = "; subtract 1 if they count from one"
  elif not cause and missing:
    cause = f"; no example has the label {', '.join(map(str, missing))}"
  return errors.DataError(
    f"{where} hold {len(order)} different labels ({shown}), which are not 0 to"
    f" {len(order) - 1}{cause}; correct them, or give --remap_labels to make"
    f" the classes 0 to {len(order) - 1} of these values, in ascending order"
  )
