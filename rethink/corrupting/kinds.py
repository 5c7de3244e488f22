"""The two kinds of corruption: how each is told, called and checked.

The first parameters of a function say what it is given and what it changes:

  (ids, labels, context, ...)          changes labels
  (ids, labels, images, context, ...)  changes labels, in view of the images
  (ids, images, context, ...)          changes pixels
"""

import enum
import functools
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rethink import errors, example

# Of the images that a corruption of labels is given at a time.
_BYTES = 2**26

# Called with what its first parameters say; returns the labels or images, or
# these and facts for status.json, JSON values.
Corruption = Callable[..., Any]
# int64[k] rows of a split to its uint8[k, height, width, channels] images.
Images = Callable[[np.ndarray], np.ndarray]


class Kind(enum.Enum):
  """The kinds of corruption, each with its first parameters."""

  LABELS = ("ids", "labels", "context")
  LABELS_BY_IMAGES = ("ids", "labels", "images", "context")
  PIXELS = ("ids", "images", "context")


def kind(corruption: Corruption) -> Kind:
  """Returns the kind of a corruption.

  Args:
    corruption: a function or a `specs.Call` of one.

  Raises:
    ConfigError: if its first parameters are of no kind.
  """
  function = getattr(corruption, "function", corruption)
  names = tuple(inspect.signature(function).parameters)
  for found in Kind:
    if names[: len(found.value)] == found.value:
      return found
  old = names[:2] == ("examples", "context")
  raise errors.ConfigError(
    f"config.corruptions: {_name(corruption)}"
    + (" is of an older contract and" if old else "")
    + f" takes ({', '.join(names)}, ...), but a corruption of labels takes"
    " (ids, labels, context, ...) or (ids, labels, images, context, ...) and"
    " returns the labels, one of pixels takes (ids, images, context, ...) and"
    " returns the images; rethink/corruptions.py explains them"
  )


def leading(function: Corruption) -> tuple[str, ...]:
  """Returns the first parameters of a corruption, which the package fills in.

  Raises:
    ConfigError: if they are of no kind.
  """
  return kind(function).value


def of_pixels(corruptions: Sequence[Corruption]) -> tuple[Corruption, ...]:
  """Returns the corruptions that change pixels, in order."""
  return tuple(c for c in corruptions if kind(c) is Kind.PIXELS)


def corrupt_labels(
  corruptions: Sequence[Corruption],
  context: example.Context,
  images: Images,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
  """Applies the corruptions of labels to a whole split, in order.

  A corruption that asks for images gets them one block at a time, after the
  corruptions of pixels that stand before it. The facts that it states about the
  first block are the ones that are reported.

  Args:
    corruptions: of both kinds.
    context: `context.split` has the ids and labels.
    images: of the split, before any corruption.

  Returns:
    int32[n] labels, and the facts that each corruption states: {} of pixels.

  Raises:
    ConfigError: naming a function that returns no labels.
  """
  split, stated = context.split, []
  for position, corruption in enumerate(corruptions):
    facts = {}
    if kind(corruption) is Kind.LABELS:
      given = (*_kept(split.id, split.label), context._replace(split=split))
      labels, facts = _labels(corruption, given, context)
      split = split._replace(label=labels)
    elif kind(corruption) is Kind.LABELS_BY_IMAGES:
      blocks = []
      for rows in _blocks(len(split.id), context.info.shape):
        ids, seen = split.id[rows], images(rows)
        for earlier in of_pixels(corruptions[:position]):
          seen, _ = corrupt_images(earlier, ids, seen, context)
        given = _kept(ids, split.label[rows], seen)
        given = (*given, context._replace(split=split))
        blocks.append(_labels(corruption, given, context))
      facts = blocks[0][1]
      labels = np.concatenate([labels for labels, _ in blocks])
      split = split._replace(label=labels)
    stated.append(facts)
  return split.label, stated


def corrupt_images(
  corruption: Corruption,
  ids: np.ndarray,
  images: np.ndarray,
  context: example.Context,
) -> tuple[np.ndarray, dict[str, Any]]:
  """Applies a corruption of pixels to any number of images.

  Returns:
    uint8[n, height, width, channels], and the facts that it states.

  Raises:
    ConfigError: naming a function that returns no such images.
  """
  context = context._replace(split=example.Split())
  returned = corruption(*_kept(ids, images), context)
  after, facts = _apart(returned, _name(corruption))
  n, size, channels = len(ids), context.image_size, images.shape[-1]
  shapes = (images.shape, (n, size, size, channels))
  if not (
    isinstance(after, np.ndarray)
    and after.dtype == np.uint8
    and after.shape in shapes
  ):
    raise errors.ConfigError(
      f"config.corruptions: {_name(corruption)} must return"
      f" {_shown(images)} images, or as many of {size}x{size} pixels, but it"
      f" returns {_shown(after)}{_cure(after)}"
    )
  if 0 < after.max(initial=0) <= 1 < images.max(initial=0):
    _warn_of_black(_name(corruption))
  return after, facts


@functools.cache  # once, not for every batch that is streamed
def _warn_of_black(name: str) -> None:
  """Warns of images that were computed in [0, 1] and then cut to integers."""
  print(
    f"rethink: config.corruptions: {name} returns no value but 0 and 1; if it"
    " computes in [0, 1], multiply by 255 and round before astype(np.uint8)",
    file=sys.stderr,
    flush=True,
  )


def _blocks(n: int, shape: tuple[int, int, int]) -> list[np.ndarray]:
  """Rows in blocks of equal size, whatever holds the images."""
  size = max(1, _BYTES // max(1, int(np.prod(shape))))
  return [np.arange(i, min(i + size, n)) for i in range(0, n, size)]


def _labels(
  corruption: Corruption, given: tuple, context: example.Context
) -> tuple[np.ndarray, dict[str, Any]]:
  """Calls a corruption of labels and checks what it returns."""
  n, classes = len(given[0]), context.info.num_classes
  after, facts = _apart(corruption(*given), _name(corruption))
  where = f"config.corruptions: {_name(corruption)} must return"
  if not (
    isinstance(after, np.ndarray)
    and np.issubdtype(after.dtype, np.integer)
    and after.shape == (n,)
  ):
    raise errors.ConfigError(
      f"{where} {n} integer labels, but it returns {_shown(after)}"
    )
  outside = after[(after < 0) | (after >= classes)]
  if outside.size:
    raise errors.ConfigError(
      f"{where} labels from 0 to {classes - 1}, but it returns {outside[0]}"
    )
  return after.astype(np.int32), facts


def _kept(*arrays: np.ndarray) -> list[np.ndarray]:
  """Views that cannot be written to: the arrays may be the data set itself."""
  views = [array.view() for array in arrays]
  for view in views:
    view.setflags(write=False)
  return views


def _apart(returned: Any, name: str) -> tuple[Any, dict[str, Any]]:
  if not (isinstance(returned, tuple) and len(returned) == 2):
    return returned, {}
  after, facts = returned
  try:
    if not isinstance(facts, dict):
      raise TypeError(f"it returns {_shown(facts)}")
    json.dumps(facts, allow_nan=False)
  except (TypeError, ValueError) as error:
    raise errors.ConfigError(
      f"config.corruptions: {name} must return its facts for status.json as a"
      f" dict of JSON values: {error}"
    ) from None
  return after, facts


def _name(corruption: Corruption) -> str:
  return getattr(corruption, "__name__", str(corruption))


def _cure(images: Any) -> str:
  """Returns the advice for images of numbers that are not uint8; else ""."""
  if not isinstance(images, np.ndarray) or not images.size:
    return ""
  is_float = np.issubdtype(images.dtype, np.floating)
  is_integer = np.issubdtype(images.dtype, np.integer)
  if images.dtype == np.uint8 or not (is_float or is_integer):
    return ""
  lowest, highest = images.min(), images.max()
  values = f", of values from {lowest:.3g} to {highest:.3g}"
  if is_float and 0 <= lowest <= highest <= 1:
    return (
      values + ": multiply by 255, round, and convert with astype(np.uint8)"
    )
  return values + ": clip to 0 to 255, round, and convert with astype(np.uint8)"


def _shown(value: Any) -> str:
  if isinstance(value, np.ndarray):
    return f"{value.dtype}{list(value.shape)}"
  return type(value).__name__
