"""Errors with a message for the user and the exit code of the process."""


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


def reason(error: BaseException) -> str:
  """Returns the first line of an error's message, or its class name."""
  return str(error).partition("\n")[0] or type(error).__name__
