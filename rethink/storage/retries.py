"""Retries for storage that fails for a moment, as remote storage does."""

import sys
import time
from collections.abc import Callable

from rethink import errors

# Seconds to wait before the second and before the third attempt.
WAITS = (1.0, 4.0)


def retry[T](attempt: Callable[[], T]) -> T:
  """Calls `attempt` up to three times and returns its result.

  The third failure is raised. Errors that waiting cannot fix are raised at
  once: a missing file, text that is not UTF-8, a ConfigError.
  """
  for seconds in WAITS:
    try:
      return attempt()
    except (errors.ConfigError, FileNotFoundError, UnicodeError):
      raise
    except Exception as error:  # of any layer between Orbax and the disk
      print(
        f"rethink: warning: {errors.reason(error)}; trying again in"
        f" {seconds:g} s",
        file=sys.stderr,
        flush=True,
      )
    time.sleep(seconds)
  return attempt()
