"""Named runs: an experiment is a product of choices, a run one of them.

Pure Python on purpose: configs import this and nothing else of the package.
"""

import fnmatch
import itertools
import re
from collections.abc import Mapping
from typing import Any

from rethink import errors

Overrides = Mapping[str, Any]
Runs = dict[str, dict[str, Any]]

SMOKE = "smoke/"  # in front of the names of small variants of the runs


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

  The first part of runs' names, "smoke" say, stands for the first of them, so
  that a sweep may name them all; `rethink.main` takes whole names only.

  Raises:
    ConfigError: if there is no such run, naming those that exist.
  """
  run = next((name for name in runs if name.startswith(f"{run}/")), run)
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


def choose(
  runs: Runs, group: str, only: str = "*", seeds: int = 1
) -> list[str]:
  """Names of the runs that a sweep is about, in the order of the experiment.

  Args:
    runs: all there are.
    group: the first part of their names; "" is all but the smoke variants.
    only: a pattern, as in a shell.
    seeds: of runs that end in "/seed<k>" those with k < seeds, unless the
      pattern speaks of seeds itself.
  """

  def wanted(name: str) -> bool:
    seed = re.search(r"/seed(\d+)$", name)
    few = not seed or int(seed[1]) < seeds or "seed" in only
    return few and in_group(name, group) and fnmatch.fnmatch(name, only)

  return [name for name in runs if wanted(name)]


def in_group(name: str, group: str) -> bool:
  """Whether a run belongs to a group, as `choose` takes it."""
  if group:
    return name.startswith(f"{group}/")
  return not name.startswith(SMOKE)
