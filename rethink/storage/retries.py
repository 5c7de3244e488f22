"""Storage that fails for a moment, as remote storage does."""

import sys
import time
from collections.abc import Callable

from rethink import errors

# Seconds before the second attempt and before the last one.
WAITS = (1.0, 4.0)


def retry[T](attempt: Callable[[], T]) -> T:
  """What `attempt` returns, tried three times; the last failure is raised.

  What no wait can mend is raised at once: a file that is not there, text that
  is none, a config.
  """
  for seconds in WAITS:
    try:
      return attempt()
    except (errors.ConfigError, FileNotFoundError, UnicodeError):
      raise
    except Exception as error:  # of any layer between Orbax and the disk
      print(
        f"rethink: warning: {error}; trying again in {seconds:g} s",
        file=sys.stderr,
        flush=True,
      )
    time.sleep(seconds)
  return attempt()
