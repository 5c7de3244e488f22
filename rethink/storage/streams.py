"""Output to stdout and stderr that never fails: text is lost, never a run.

Whatever a run prints is about work that is worth more than the text. A pipe
whose reader has gone, a full disk behind a redirection, a closed terminal or a
descriptor that was closed before the start must not end it.
"""

import errno
import io
import os
import sys
import time
from typing import Any

# A reader of a non-blocking pipe may be busy for so long before text is lost.
_PATIENCE_SECONDS = 1.0


class _BestEffort(io.RawIOBase):
  """A file descriptor whose writes always succeed."""

  def __init__(self, number: int):
    self._number = number

  def writable(self) -> bool:
    return True

  def fileno(self) -> int:
    return self._number

  def isatty(self) -> bool:
    try:
      return os.isatty(self._number)
    except OSError:
      return False

  def write(self, data: Any) -> int:
    rest, until = memoryview(data), time.monotonic() + _PATIENCE_SECONDS
    while rest:
      try:
        rest = rest[os.write(self._number, rest) :]
      except OSError as error:
        if error.errno != errno.EAGAIN or time.monotonic() > until:
          break
        time.sleep(0.01)
    return len(data)


def install() -> None:
  """Makes sys.stdout and sys.stderr writers that never raise.

  Descriptors that were closed before the start are opened on the null device,
  because the next file to be opened would otherwise get their numbers, and with
  them what libraries print.
  """
  for number in range(3):
    try:
      os.fstat(number)
    except OSError:
      os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
  for number, name in ((1, "stdout"), (2, "stderr")):
    before = getattr(sys, name)
    if before is None or before is getattr(sys, f"__{name}__"):
      setattr(sys, name, _writer(number, before))
  _redirect_logs()


def _writer(number: int, before: Any) -> io.TextIOWrapper:
  try:
    before.flush()
  except (AttributeError, OSError, ValueError):
    pass
  buffer = io.BufferedWriter(_BestEffort(number))
  # A locale's encoding may lack letters.
  encoding = before.encoding if before is not None else "utf-8"
  return io.TextIOWrapper(
    buffer, encoding, errors="backslashreplace", line_buffering=True
  )


def _redirect_logs() -> None:
  """Makes absl log to the new stderr; it remembers the one of its import."""
  from absl import logging

  logging.get_absl_handler().python_handler.setStream(sys.stderr)
