"""Named runs of an experiment, as overrides of a config.

Pure Python on purpose: configs import this and nothing else of the package, so
the classes that declare a report are found here, too.
"""

import fnmatch
import importlib.util
import itertools
import os
import re
import types
from collections.abc import Mapping
from typing import Any

from rethink import errors
from rethink.report_spec import Against as Against
from rethink.report_spec import Column as Column
from rethink.report_spec import Curves as Curves
from rethink.report_spec import EarlyStopping as EarlyStopping
from rethink.report_spec import Examples as Examples
from rethink.report_spec import Line as Line
from rethink.report_spec import Memorization as Memorization
from rethink.report_spec import Plot as Plot
from rethink.report_spec import Points as Points
from rethink.report_spec import Profile as Profile
from rethink.report_spec import Report as Report
from rethink.report_spec import Row as Row
from rethink.report_spec import Series as Series
from rethink.report_spec import Table as Table
from rethink.report_spec import Trace as Trace

Overrides = Mapping[str, Any]
Runs = dict[str, dict[str, Any]]

SMOKE = "smoke/"  # in front of the names of small variants of the runs
SEEDS = {f"seed{n}": dict(seed=n) for n in range(5)}


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


def smoke(runs: Runs, **overrides: Any) -> Runs:
  """Seed 0 of some runs, small: "smoke/<name>" with these overrides."""
  return {
    SMOKE + name: {**own, **overrides}
    for name, own in runs.items()
    if name.endswith("/seed0")
  }


def load_module(path: str | os.PathLike) -> types.ModuleType:
  """A config file as a module."""
  spec = importlib.util.spec_from_file_location("rethink_config", path)
  assert spec and spec.loader  # true of every name that ends in .py
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def select(config, runs: Runs, run: str):
  """Applies the overrides of one run to a config and returns it.

  The first part of runs' names, "smoke" say, stands for the first of them, so
  that a sweep may name them all; `rethink.main` takes whole names only.

  Raises:
    ConfigError: if there is no such run, naming those that exist.
  """
  if run not in runs:
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
    inside = name.startswith(f"{group}/") if group else not is_smoke(name)
    return few and inside and fnmatch.fnmatch(name, only)

  return [name for name in runs if wanted(name)]


def is_smoke(name: str) -> bool:
  """Whether a run is a small variant."""
  return name.startswith(SMOKE)
