"""Errors with a message for the user and the exit code of the process."""

import contextlib
import difflib
from collections.abc import Collection, Iterable, Iterator

_LISTED = 12  # names that a message lists at most


class RethinkError(Exception):
  """An error that its message explains; any other exception is a bug."""

  exit_code = 1


class ConfigError(RethinkError):
  """A config field, a component, a flag or a run directory is invalid."""

  exit_code = 2


class DivergedError(RethinkError):
  """The loss is not finite; the last finite state stays on disk."""

  exit_code = 3


class DataError(RethinkError):
  """A data set is missing or damaged."""

  exit_code = 4


class CheckpointError(RethinkError):
  """A saved state is damaged.

  Not a DataError, which ends a whole sweep: only one run is affected.
  """

  exit_code = 4


class PreemptedError(RethinkError):
  """The process was asked to stop; the same command resumes the run.

  The message says whether a state was saved.
  """

  exit_code = 75  # EX_TEMPFAIL: schedulers requeue on it


class UserExitError(Exception):
  """Code of the user's own has ended the process; nothing was finished."""


@contextlib.contextmanager
def refusing_exit(what: str) -> Iterator[None]:
  """Turns `sys.exit(0)` in code of the user's own into an error.

  The exit code 0 must mean that the run is done.

  Args:
    what: whose code runs, for the message.
  """
  try:
    yield
  except SystemExit as error:
    if error.code:
      raise
    raise UserExitError(
      f"{what} called sys.exit({error.code!r}); nothing was finished"
    ) from error


def reason(error: BaseException) -> str:
  """Returns the first line of an error's message, or its class name."""
  return str(error).partition("\n")[0] or type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
  """Returns " (did you mean 'x'?)" for the most similar name, "" for none."""
  near = difflib.get_close_matches(name, list(known), n=1)
  return f" (did you mean {near[0]!r}?)" if near else ""


def shown(value: object) -> str:
  """Returns the text of a value that was typed, cut where nobody reads on."""
  text = repr(value)
  return text if len(text) <= 200 else f"{text[:100]} ... {text[-20:]}"


def listed(names: Collection[str], like: str = "") -> str:
  """Returns names in one line: all of a few, else those most like another.

  Args:
    names: in the order in which they are to be read.
    like: what was typed; without it the first names are shown.
  """
  names = list(names)
  if len(names) <= _LISTED:
    return ", ".join(names)
  near = difflib.get_close_matches(like, names, _LISTED, cutoff=0.5)
  shown = near or names[:_LISTED]
  return f"{', '.join(shown)} and {len(names) - len(shown):,} more"


class OtherProcessError(RethinkError):
  """Another process of this run has failed; it has the exit code of that."""

  def __init__(self, message: str, exit_code: int):
    super().__init__(message)
    self.exit_code = exit_code
