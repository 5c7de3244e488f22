"""Remarks to the person who brings data, one for each kind."""

import sys
from collections.abc import Mapping


class Remarks:
  """Kinds of things that were noticed, with counts and an example each."""

  def __init__(self):
    self._found: dict[str, tuple[int, str]] = {}

  def add(self, kind: str, name: str = "", count: int = 1) -> None:
    """Counts one more of a kind.

    Args:
      kind: the rest of the sentence after a number: "files that are ...".
      name: of an example.
      count: of how many this one is the first.
    """
    known, first = self._found.get(kind, (0, name))
    self._found[kind] = known + count, first

  def update(self, found: Mapping[str, tuple[int, str]]) -> None:
    """Adds what another process has found, as its `found` says it."""
    for kind, (count, name) in found.items():
      self.add(kind, name, count)

  @property
  def found(self) -> dict[str, tuple[int, str]]:
    """Counts and first example by kind."""
    return dict(self._found)

  def lines(self) -> list[str]:
    """Returns one sentence per kind."""
    return [
      f"{count:,} {kind}" + (f" (such as {name!r})" if name else "")
      for kind, (count, name) in self._found.items()
    ]

  def say(self) -> None:
    """Prints the sentences, once."""
    for line in self.lines():
      print(f"rethink: {line}", file=sys.stderr, flush=True)
    self._found.clear()
