"""Runs a side of a benchmark as a process that answers line by line."""

import json
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Peer:
  """A process that prints a JSON object once it is warm, and one per request.

  Lines that are no JSON object are ignored; its stderr is ours.

  Attributes:
    facts: the first object, which describes the side.
  """

  def __init__(self, command: Sequence[str]):
    """Starts the process in the repository's root and waits until it is warm.

    Raises:
      ChildProcessError: if the process ends before that.
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
    """Sends a line and returns the answer.

    Raises:
      ChildProcessError: if the process ends instead of answering.
    """
    assert self._process.stdin
    try:
      print(line, file=self._process.stdin, flush=True)
    except BrokenPipeError:
      pass  # the process has ended, which `_read` reports
    return self._read()

  def close(self) -> None:
    """Closes the process's input and waits for its end."""
    self._process.communicate()

  def _read(self) -> dict[str, Any]:
    assert self._process.stdout
    for line in self._process.stdout:
      if line.startswith("{"):
        return json.loads(line)
    self.close()
    raise ChildProcessError(f"exit code {self._process.returncode}, see above")
