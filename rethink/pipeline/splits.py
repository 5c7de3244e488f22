"""Splits and parts of splits, as `config.train_split` names them.

Parts are cut from the examples in the order of their ids. An id is a hash of
the example's name, so that this is a fixed random order which neither shards,
the order of records, nor a seed changes.
"""

import fractions
import math
import re
from typing import NamedTuple

import numpy as np

from rethink import errors

_BOUND = r"(-?\d[\d_]*(?:\.\d+)?%|-?\d[\d_]*)?"
_PART = re.compile(rf"([\w-]+)(?:\[{_BOUND}:{_BOUND}\])?")


class Part(NamedTuple):
  """A split of a data set, or a part of one.

  Attributes:
    name: of the split.
    start: where it begins, as in TFDS: "80%", "-100", "" for the first.
    stop: before which example it ends, likewise; "" for the end.
  """

  name: str
  start: str = ""
  stop: str = ""

  @property
  def whole(self) -> bool:
    """True if it is all of the split."""
    return not (self.start or self.stop)

  def rows(self, n: int, field: str) -> np.ndarray:
    """Returns the rows of a split of n examples in the order of their ids.

    Two parts that meet at a bound, `[:80%]` and `[80%:]`, share no row and
    leave none out, whatever n is.

    Args:
      n: examples of the whole split.
      field: of the config, for messages.

    Returns:
      int64[size], ascending.

    Raises:
      ConfigError: if the part is empty, or a bound is beyond the split.
    """
    start = self._bound(self.start, n, field) if self.start else 0
    stop = self._bound(self.stop, n, field) if self.stop else n
    if start >= stop:
      raise errors.ConfigError(
        f"config.{field}={str(self)!r} has no examples: it begins at {start:,}"
        f" and ends at {stop:,} of {n:,}"
      )
    return np.arange(start, stop)

  def _bound(self, text: str, n: int, field: str) -> int:
    number = fractions.Fraction(text.rstrip("%").replace("_", ""))
    if text[-1] == "%":
      # Halves are rounded up: one rule for the end of a part and the beginning
      # of the next.
      number = math.floor(number * n / 100 + fractions.Fraction(1, 2))
    found = int(number) + (n if text[0] == "-" else 0)
    if not 0 <= found <= n:
      raise errors.ConfigError(
        f"config.{field}={str(self)!r} reaches beyond the split, which has"
        f" {n:,} examples"
      )
    return found

  def __str__(self) -> str:
    if self.whole:
      return self.name
    return f"{self.name}[{self.start}:{self.stop}]"


def parse(text: str, field: str) -> Part:
  """Reads "train", "train[:80%]" or "train[1000:2000]".

  Args:
    text: what the config says.
    field: of the config, for messages.

  Raises:
    ConfigError: if it is neither the name of a split nor one part of a split.
  """
  found = _PART.fullmatch(re.sub(r"\s", "", text))
  if not found:
    raise errors.ConfigError(
      f"config.{field}={text!r} is neither a split, such as 'train', nor one"
      " part of a split, such as 'train[:80%]', 'train[80%:]' or"
      " 'train[1000:2000]'"
    )
  return Part(*(x or "" for x in found.groups()))
