"""Stop requests: a signal sets a flag that training checks.

| signal | effect |
|---|---|
| SIGTERM, SIGINT (Ctrl-C), SIGUSR1 | save and stop, exit code 75 |
| SIGHUP | likewise, unless it was ignored at the start (nohup) |
| a second SIGINT | ends at once, exit code 130 |

Python executes signal handlers between two of its instructions, which may be
minutes apart while a program compiles. A thread therefore hears of signals
through a pipe that the C handler writes to: it tells the user, and it can end
the process.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from rethink import errors

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
EXIT_AT_ONCE = 130  # as a shell reports a process that SIGINT has ended
# One Ctrl-C may arrive twice: from the terminal and from a wrapper.
_SECONDS_BETWEEN = 0.5
_SECONDS_TO_CLEAN_UP = 2.0


class StopFlag:
  """Records the first signal; of later ones only a second SIGINT counts.

  Attributes:
    name: name of the received signal, or None.
    clean_up: called before the process ends at once; what it raises is ignored.
  """

  def __init__(self) -> None:
    self.name: str | None = None
    self.clean_up: Callable[[], None] = lambda: None
    self._told: float | None = None  # when a Ctrl-C was answered
    self._ends: tuple[socket.socket, socket.socket] | None = None
    self._before: dict[signal.Signals, Any] = {}

  def install(self) -> "StopFlag":
    """Makes signals set the flag instead of ending the process."""
    self._ends = socket.socketpair()
    for end in self._ends:
      end.setblocking(False)
    self._ends[0].setblocking(True)
    signal.set_wakeup_fd(self._ends[1].fileno(), warn_on_full_buffer=False)
    # A child that is forked must not speak for its parent.
    os.register_at_fork(after_in_child=_forget_pipe)
    for number in CAUGHT:
      ignored = signal.getsignal(number) is signal.SIG_IGN
      if number != signal.SIGHUP or not ignored:
        self._before[number] = signal.signal(number, self._catch)
    threading.Thread(target=self._listen, daemon=True).start()
    return self

  def uninstall(self) -> None:
    """Puts the handlers back that were there before."""
    signal.set_wakeup_fd(-1)
    for number, handler in self._before.items():
      signal.signal(number, handler)
    if self._ends:
      self._ends[1].close()  # ends the thread

  def _catch(self, number: int, frame) -> None:
    # Prints nothing: it may interrupt a write to the same stream, or a block
    # that takes an error of that stream for one of its own file.
    del frame
    self._record(number)

  def _record(self, number: int) -> bool:
    first = self.name is None
    if first:
      self.name = signal.Signals(number).name
    return first

  def _listen(self) -> None:
    assert self._ends
    told = False
    with self._ends[0], contextlib.suppress(OSError):
      while received := self._ends[0].recv(1):
        number = received[0]
        if number not in CAUGHT:
          continue
        self._record(number)
        if number == signal.SIGINT and self._told is not None:
          if time.monotonic() - self._told > _SECONDS_BETWEEN:
            self._end()
          continue
        if not told or number == signal.SIGINT:
          self._tell(number)
        told = True

  def _tell(self, number: int) -> None:
    text = (
      f"{signal.Signals(number).name}: saving and stopping at the next"
      " opportunity"
    )
    if number == signal.SIGINT:
      text += "; press Ctrl-C again to end at once, without saving"
    _in_time(lambda: print(text, file=sys.stderr, flush=True))
    if number == signal.SIGINT:
      self._told = time.monotonic()

  def _end(self) -> None:
    _in_time(self.clean_up)
    text = "rethink: ended at once"
    _in_time(lambda: print(text, file=sys.stderr, flush=True))
    os._exit(EXIT_AT_ONCE)


def _in_time(action: Callable[[], None]) -> None:
  """Calls a function that may fail or hang, such as one that prints."""

  def attempt() -> None:
    with contextlib.suppress(Exception):
      action()

  thread = threading.Thread(target=attempt, daemon=True)
  thread.start()
  thread.join(_SECONDS_TO_CLEAN_UP)


def _forget_pipe() -> None:
  with contextlib.suppress(ValueError):  # not in the main thread
    signal.set_wakeup_fd(-1)


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
