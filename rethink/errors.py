"""What can go wrong, each with the exit code of the process that it ends."""


class RethinkError(Exception):
  """A fault that one sentence explains; anything else is a bug."""

  exit_code = 1


class ConfigError(RethinkError):
  """A field, a component or a run directory is not what it should be."""

  exit_code = 2


class DivergedError(RethinkError):
  """The loss is not finite; the last finite state stays on disk."""

  exit_code = 3


class DataError(RethinkError):
  """A data set is missing or damaged."""

  exit_code = 4


class CheckpointError(RethinkError):
  """A saved state is damaged; no DataError, as it concerns one run only."""

  exit_code = 4


class PreemptedError(RethinkError):
  """Asked to stop; the state is saved and the same command goes on."""

  exit_code = 75  # EX_TEMPFAIL: schedulers requeue on it


def reason(error: BaseException) -> str:
  """The first line of what any error says, or its name."""
  return str(error).partition("\n")[0] or type(error).__name__
