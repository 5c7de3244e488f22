"""Stop requests: SIGTERM and SIGINT set a flag that training checks."""

import signal
import sys
from typing import Any

from rethink import errors


class StopFlag:
  """Records the first SIGTERM or SIGINT; later signals change nothing.

  Attributes:
    name: name of the received signal, or None.
  """

  def __init__(self) -> None:
    self.name: str | None = None

  def install(self) -> "StopFlag":
    """Makes signals set the flag instead of ending the process."""
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, self._catch)
    return self

  def _catch(self, number: int, frame) -> None:
    del frame
    if self.name is None:
      self.name = signal.Signals(number).name
      print(
        f"{self.name}: saving and stopping at the next opportunity",
        file=sys.stderr,
        flush=True,
      )


def check(stop: StopFlag, run: Any) -> None:
  """Stops a run that saves nothing before its end, if it was asked to stop.

  Methods that do not train call this between pieces of work.

  Args:
    stop: the flag that a signal sets.
    run: the open `runs.Run`.

  Raises:
    LostError: if another process has taken over the run directory.
    PreemptedError: if a signal was received.
  """
  run.check_lock()
  if stop.name:
    raise errors.PreemptedError(
      f"{stop.name}: stopped; {run.workdir} saves nothing before the run ends,"
      " so the same command starts it over"
    )
