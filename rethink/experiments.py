"""Named runs: an experiment is a product of choices, a run one of them.

Pure Python on purpose: configs import this and nothing else of the package.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from rethink import errors

Overrides = Mapping[str, Any]
Runs = dict[str, dict[str, Any]]


def product(**axes: Mapping[str, Overrides]) -> Runs:
  """All combinations of the choices; names are joined by slashes.

  `product(model={"mlp": dict(model="mlp()")}, labels={"true": {}})` has one
  run, "mlp/true". A later axis overrides an earlier one.
  """
  runs = {}
  for combination in itertools.product(
    *(axis.items() for axis in axes.values())
  ):
    overrides: dict[str, Any] = {}
    for _, choice in combination:
      overrides.update(choice)
    runs["/".join(name for name, _ in combination)] = overrides
  return runs


def select(config, runs: Runs, run: str):
  """Applies the overrides of one run to a config and returns it.

  Raises:
    ConfigError: if there is no such run, naming those that exist.
  """
  if run not in runs:
    raise errors.ConfigError(
      f"there is no run {run!r}; there are: {', '.join(runs)}"
    )
  config.lock()  # an unknown field raises only in a locked config
  try:
    config.update_from_flattened_dict(runs[run])
  except (KeyError, TypeError) as error:
    raise errors.ConfigError(f"run {run!r}: {error}") from None
  return config
