"""Names the runs of an experiment; a run is a set of config overrides.

Configs import only this module of the package, so it is pure Python and also
exports the classes that declare a report.
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
from rethink.report_spec import Overall as Overall
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

SMOKE = "smoke/"  # prefix of the names of small variants
SEEDS = {f"seed{n}": dict(seed=n) for n in range(5)}


def product(**axes: Mapping[str, Overrides]) -> Runs:
  """Returns one run for each combination of the axes' choices.

  The names of the choices are joined by slashes:
  `product(model={"mlp": dict(model="mlp()")}, labels={"true": {}})` has one
  run, "mlp/true". If two axes set the same field, the later axis wins.
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
  """Returns small variants, "smoke/<name>", of the runs with seed 0.

  Args:
    runs: the full-size runs.
    **overrides: fields that make a run small.
  """
  return {
    SMOKE + name: {**own, **overrides}
    for name, own in runs.items()
    if name.endswith("/seed0")
  }


def check_name(name: str, kind: str = "run") -> None:
  """Refuses a name that is no path inside a folder, as run directories are.

  Raises:
    ConfigError: if the name is empty, absolute, or has a part that is empty,
      "." or "..", or a character that no path can have.
  """
  parts = name.replace("\\", "/").split("/")
  if any(part in ("", ".", "..") for part in parts) or "\0" in name:
    raise errors.ConfigError(
      f"the {kind} name {name!r} would leave its folder or has an empty part;"
      " use names joined by single slashes"
    )


def load_module(path: str | os.PathLike) -> types.ModuleType:
  """Imports a config file as a module.

  Raises:
    ConfigError: if the name of one of its runs would leave the folder of runs.
    UserExitError: if it ends the process, which would look like success.
  """
  spec = importlib.util.spec_from_file_location("rethink_config", path)
  assert spec and spec.loader  # holds for every path ending in .py
  module = importlib.util.module_from_spec(spec)
  with errors.refusing_exit(f"the config file {path}"):
    spec.loader.exec_module(module)
  for name in getattr(module, "RUNS", ()):
    check_name(name)
  return module


def select(config, runs: Runs, run: str):
  """Applies the overrides of one run to a config and returns it.

  A leading part of run names, such as "smoke", selects the first run that
  starts with it, so that `rethink.sweep` can load the config of a group of
  runs. `rethink.main` accepts full names only.

  Raises:
    ConfigError: if there is no such run; the message lists the runs.
  """
  if run not in runs:
    run = next((name for name in runs if name.startswith(f"{run}/")), run)
  if run not in runs:
    raise errors.ConfigError(
      f"there is no run {run!r}{errors.did_you_mean(run, runs)}; the runs are:"
      f" {errors.listed(runs, run)}"
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
  """Returns the names of the runs that a sweep makes, in the config's order.

  Args:
    runs: all runs of the experiment.
    group: leading part of the names; "" selects all but the small variants.
    only: shell-style pattern that names must match.
    seeds: number of seeds: of runs that end in "/seed<k>", those with
      k < seeds. Ignored if the pattern itself contains "seed".
  """

  def selected(name: str) -> bool:
    seed = re.search(r"/seed(\d+)$", name)
    few = not seed or int(seed[1]) < seeds or "seed" in only
    inside = name.startswith(f"{group}/") if group else not is_smoke(name)
    return few and inside and fnmatch.fnmatch(name, only)

  return [name for name in runs if selected(name)]


def is_smoke(name: str) -> bool:
  """Returns whether a run is a small variant."""
  return name.startswith(SMOKE)
