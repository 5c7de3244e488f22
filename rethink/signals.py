"""Asked to stop: a flag that the training loop looks at between chunks."""

import signal
import sys
from typing import Any

from rethink import errors


class StopFlag:
  """Catches SIGTERM and SIGINT, once; later ones change nothing.

  Attributes:
    name: of the signal that came, or None.
  """

  def __init__(self) -> None:
    self.name: str | None = None

  def install(self) -> "StopFlag":
    """From now on signals set the flag instead of ending the process."""
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, self._catch)
    return self

  def _catch(self, number: int, frame) -> None:
    del frame
    if self.name is None:
      self.name = signal.Signals(number).name
      print(
        f"{self.name}: stopping at the next chance, saving first",
        file=sys.stderr,
        flush=True,
      )


def check(stop: StopFlag, run: Any) -> None:
  """Between pieces of work of which nothing is saved before the end.

  Args:
    stop: asks to leave.
    run: the open `runs.Run`.

  Raises:
    LostError: if another process has taken the run's directory over.
    PreemptedError: if asked to stop.
  """
  run.check_lock()
  if stop.name:
    raise errors.PreemptedError(
      f"{stop.name}: nothing of {run.workdir} is saved before its end; run the"
      " same command again to begin anew"
    )
