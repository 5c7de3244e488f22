"""Names of classes: their order, and which of them a data set can hold."""

import collections
import sys
import unicodedata
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from rethink import errors
from rethink.prepare import remarks


def in_order(names: Iterable[str]) -> tuple[str, ...]:
  """Sorts names; if all are decimal numbers, by their values: 2 before 10."""
  found = set(names)
  if all(name.isascii() and name.isdecimal() for name in found):
    return tuple(sorted(found, key=lambda name: (int(name), name)))
  return tuple(sorted(found))


def require(names: Iterable[str], where: str) -> None:
  """Raises a DataError for a name that a data set cannot hold.

  TFDS stores one name per line and strips blanks. Two names that look alike
  would be two classes of one name in every table.

  Args:
    names: all different.
    where: what has these names, for the message.
  """
  alike = collections.defaultdict(list)
  for name in names:
    # Characters of the category Cf, such as a zero-width space, are not seen.
    seen = "".join(c for c in name if unicodedata.category(c) != "Cf")
    alike[unicodedata.normalize("NFC", " ".join(seen.split()))].append(name)
  for several in alike.values():
    if len(several) > 1:
      listed = " and ".join(ascii(name) for name in sorted(several))
      raise errors.DataError(
        f"{where} has the classes {listed}, whose names look alike; rename one"
        " of them, or join them if they are one class"
      )
  for name in (x for several in alike.values() for x in several):
    if name != name.strip() or not name:
      fault = "begins or ends with a blank" if name.strip() else "is empty"
    elif any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in name):
      fault = "holds a line break or another control character"
    elif any(unicodedata.category(c) == "Cs" for c in name):
      fault = "is no valid text in UTF-8"
      if sys.getfilesystemencoding() != "utf-8":
        fault = "is text only in UTF-8 (set PYTHONUTF8=1 in this locale)"
    else:
      continue
    raise errors.DataError(
      f"{where} has the class {name!a}, whose name {fault}, which a data"
      " set cannot hold; rename it"
    )


def require_learnable(
  counts: Mapping[str, Mapping[str, int]],
  where: str,
  notes: remarks.Remarks,
  *,
  unseen: bool,
) -> None:
  """Raises a DataError for a class that has examples, but none to learn from.

  Args:
    counts: number of examples by split and class; one split is "train".
    where: what has these classes, for the message.
    notes: takes a remark where such a class is accepted.
    unseen: accept such classes.
  """
  known = {name for name, n in counts["train"].items() if n}
  for split, found in counts.items():
    for name in in_order(name for name, n in found.items() if n):
      if name not in known and unseen:
        notes.add(
          f"classes of split {split!r} have no examples in 'train'", name
        )
      elif name not in known:
        near = [x for x in known if x.casefold() == name.casefold()]
        meant = f" (is {near[0]!r} the same class?)" if near else ""
        raise errors.DataError(
          f"{where}: the class {name!r} has {found[name]} examples in split"
          f" {split!r} and none in 'train', so that no model could know"
          f" it{meant}; take them out, move some of them into train, or give"
          " --allow_unseen_classes"
        )


def counted(
  names: Collection[str], labels: Mapping[str, np.ndarray]
) -> dict[str, dict[str, int]]:
  """Returns the number of examples by split and class name.

  Args:
    names: of all classes; the label is the position.
    labels: int[n] by split.
  """
  return {
    split: dict(
      zip(names, np.bincount(label, minlength=len(names)).tolist(), strict=True)
    )
    for split, label in labels.items()
  }
