"""Noise transition matrices: the probabilities of new labels, by class."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rethink import errors


def rows(to: tuple[Any, ...], classes: int) -> Mapping[int, np.ndarray]:
  """Returns the rows of a noise transition matrix, by class.

  A class without a row keeps its labels.

  Args:
    to: K rows of K probabilities, floats; or pairs of class indices, integers.
    classes: K.

  Raises:
    ConfigError: if `to` is neither, naming the row.
  """
  for row in to:
    if not isinstance(row, tuple):
      raise _error(f"{row!r} is no row of a matrix and no pair of classes")
  if to and all(type(x) is int for row in to for x in row):
    return _of_pairs(to, classes)
  if len(to) != classes:
    raise _error(
      f"a matrix has {classes} rows, one for each class, not {len(to)}"
    )
  for k, row in enumerate(to):
    numbers = all(type(x) in (int, float) for x in row)
    if not (
      numbers
      and len(row) == classes
      and all(0 <= x <= 1 for x in row)
      and math.isclose(sum(row), 1, abs_tol=1e-6)
    ):
      raise _error(
        f"row {k} is {row!r}, but it must have {classes} probabilities with the"
        " sum 1"
      )
  return {k: np.array(row, np.float64) for k, row in enumerate(to)}


def _of_pairs(pairs: tuple[Any, ...], classes: int) -> Mapping[int, np.ndarray]:
  found = {}
  for pair in pairs:
    if len(pair) != 2 or not all(0 <= x < classes for x in pair):
      raise _error(
        f"{pair!r} is no pair of classes from 0 to {classes - 1} (probabilities"
        " of a matrix are written as floats, such as 1.0)"
      )
    if pair[0] in found:
      raise _error(f"class {pair[0]} stands in front of two pairs")
    found[pair[0]] = np.eye(classes)[pair[1]]
  return found


def _error(message: str) -> errors.ConfigError:
  return errors.ConfigError(
    f"config.corruptions: class_dependent_labels(to=...): {message}"
  )
