"""An experiment: named runs, and what a report shows of them, as plain data.

Pure Python on purpose: configs import this and nothing else of the package.
"""

import importlib.util
import itertools
import os
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

from rethink import errors
from rethink.plots import Against as Against
from rethink.plots import Curves as Curves
from rethink.plots import Examples as Examples
from rethink.plots import Line as Line
from rethink.plots import Plot as Plot
from rethink.plots import Points as Points
from rethink.plots import Profile as Profile
from rethink.plots import Series as Series
from rethink.plots import Trace as Trace

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


def load(path: str | os.PathLike) -> types.ModuleType:
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


class Column(NamedTuple):
  """A number that a table shows of each of its rows.

  Attributes:
    key: under which a row gives the paper's number.
    title: for people.
    measure: a public function of `rethink.report.measures`.
    metric: of metrics.jsonl, for a measure that reads one.
    unit: of the shown number. "%" and "points" are 100 times the measure;
      "epochs", "times", "nats" and "" are the measure itself.
    tolerance: a difference from the paper that agrees with it, in shown units;
      None shows differences without judging them.
    level: nats, for `epochs_to_level`.
  """

  key: str
  title: str
  measure: str = "end"
  metric: str = ""
  unit: str = "%"
  tolerance: float | None = None
  level: float = 0.0


class Row(NamedTuple):
  """A row of a table: one set-up, run with several seeds.

  Attributes:
    heads: a text for each of the table's heads.
    runs: the runs' name without its last part, "/seed<k>".
    paper: column key to the paper's number in shown units, or its words.
    parameters: of the paper's network, 0 if it gives none.
    tolerances: instead of the columns', by column key.
    baseline: runs that relative measures divide by.
  """

  heads: tuple[str, ...]
  runs: str
  paper: Mapping[str, float | str] = {}
  parameters: int = 0
  tolerances: Mapping[str, float] = {}
  baseline: str = ""


class Table(NamedTuple):
  """A table: columns of numbers for rows of runs.

  Attributes:
    key: part of file names.
    title: for people.
    heads: titles of the rows' own columns.
    columns: the numbers.
    rows: in the order of the page.
  """

  key: str
  title: str
  heads: tuple[str, ...]
  columns: tuple[Column, ...]
  rows: tuple[Row, ...]


class Memorization(NamedTuple):
  """A verdict: does a learner fit what cannot be learned?

  Attributes:
    name: of the learner.
    random: runs with random labels.
    true: runs with true labels, "" for none.
    noise: runs with images of noise, "" for none.
    augmented: whether the paper's train accuracy is that of the augmented
      images, as they were seen.
    paper: what the paper says of it.
  """

  name: str
  random: str
  true: str = ""
  noise: str = ""
  augmented: bool = False
  paper: str = ""


class EarlyStopping(NamedTuple):
  """A verdict: what would stopping at the best test accuracy have gained?

  Attributes:
    name: of the learner.
    runs: as in `Row`.
    paper: what the paper says of it.
  """

  name: str
  runs: str
  paper: str = ""


class Report(NamedTuple):
  """What a report shows of an experiment, and what the paper says of it.

  Attributes:
    title: for people.
    source: where in the paper; "" if it is not there.
    question: what the experiment asks, in a sentence or two.
    tables: at least one; a figure's runs need not stand in one.
    figures: of `plots`.
    verdicts: Memorization and EarlyStopping, shown first.
    notes: what the paper leaves open or contradicts, and what is done here.
    train_examples: of the paper's training set, 0 if there is no paper.
    stand_ins: data sets that may stand for the paper's, with what to say of it.
  """

  title: str
  source: str
  question: str
  tables: tuple[Table, ...]
  figures: tuple[Plot, ...] = ()
  verdicts: tuple[Memorization | EarlyStopping, ...] = ()
  notes: tuple[str, ...] = ()
  train_examples: int = 0
  stand_ins: Mapping[str, str] = {}
