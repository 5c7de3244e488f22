"""Config files of users, tried before absl hides where they fail."""

import inspect
import itertools
import os
import re
from collections.abc import Sequence

import ml_collections

from rethink import errors, experiments


def expand_home(text: str) -> str:
  """Returns an argument with the "~" of --config=~/mine.py replaced.

  A shell leaves it as it is, unless the path is an argument of its own.
  """
  return re.sub(
    r"^(--?config=)?~(?=/)",
    lambda match: (match[1] or "") + os.path.expanduser("~"),
    text,
  )


def try_out(argv: Sequence[str]) -> None:
  """Executes the config file that --config names.

  An exception of the file itself leaves with its traceback.

  Args:
    argv: the command line.

  Raises:
    ConfigError: saying what is wrong with the file as a config.
  """
  values = [
    text.partition("=")[2] or following
    for text, following in itertools.pairwise([*argv, ""])
    if re.fullmatch(r"--?config(=.*)?", text)
  ]
  path, _, run = (values or [""])[-1].partition(":")
  if not os.path.exists(path):
    return  # the flag's own check says so
  if not (os.path.isfile(path) and path.endswith(".py")):
    raise errors.ConfigError(f"--config={path} is not a Python file (*.py)")
  make = getattr(experiments.load_module(path), "get_config", None)
  if not callable(make):
    raise errors.ConfigError(
      f"--config={path}: the file has no function get_config()"
    )
  arguments = (run,) if run else ()
  try:
    inspect.signature(make).bind(*arguments)
  except TypeError as error:
    raise errors.ConfigError(
      f"--config={path}{':' * bool(run)}{run}: get_config() does not take"
      f" this: {error}"
    ) from None
  with errors.refusing_exit(f"get_config() of {path}"):
    config = make(*arguments)
  if not isinstance(config, ml_collections.ConfigDict) or not len(config):
    raise errors.ConfigError(
      f"--config={path}: get_config() returned {config!r:.60}; it must return"
      " an ml_collections.ConfigDict with the fields of configs/base.py"
    )
  if "method" not in config:
    raise errors.ConfigError(
      f"--config={path}: config.method is missing; begin with base.get_config()"
      " of configs/base.py, which has every field"
    )
