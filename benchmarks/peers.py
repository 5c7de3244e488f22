"""A side of a benchmark in a process of its own, which answers line by line."""

import json
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Peer:
  """A process that prints a JSON object when it is warm, and one per line.

  Its other lines are passed over; its errors go where ours go.

  Attributes:
    facts: the first object.
  """

  def __init__(self, command: Sequence[str]):
    """Starts it in the repository's root and waits until it is warm.

    Raises:
      ChildProcessError: if it ends before.
    """
    self._process = subprocess.Popen(
      command,
      cwd=ROOT,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.facts = self._read()

  def ask(self, line: str) -> dict[str, Any]:
    """What it answers.

    Raises:
      ChildProcessError: if it ends instead.
    """
    assert self._process.stdin
    try:
      print(line, file=self._process.stdin, flush=True)
    except BrokenPipeError:
      pass  # it has ended; the next line says so
    return self._read()

  def close(self) -> None:
    """Lets the process end."""
    self._process.communicate()

  def _read(self) -> dict[str, Any]:
    assert self._process.stdout
    for line in self._process.stdout:
      if line.startswith("{"):
        return json.loads(line)
    self.close()
    raise ChildProcessError(f"exit code {self._process.returncode}, see above")
