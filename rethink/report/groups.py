"""Groups of runs that differ only in their seed; names those left out."""

import pathlib
from collections.abc import Collection
from typing import NamedTuple

from rethink.report import comparability, reading, sources
from rethink.storage import runs


class Group(NamedTuple):
  """Runs that differ only in their seed.

  Attributes:
    name: name of the runs, without "/seed<k>".
    expected: number of runs there should be: one for each seed that any run of
      the experiment has used; 0 if the experiment has no such runs.
    done: "seed<k>" to the record of a run that is done and counted.
    unfinished: for each other run that exists, its state or the reason why it
      cannot be averaged with the ones in `done`.
    damaged: seed to the reason why its run cannot be read; such runs are among
      the unfinished ones.
    reduced: reasons why the runs are not comparable with the paper; () if they
      are comparable.
    remark: remark on the data set, "" for none.
    threshold: nats; a run fits when its clean train loss is at most this.
  """

  name: str
  expected: int
  done: dict[str, runs.Record]
  unfinished: tuple[str, ...]
  damaged: dict[str, str]
  reduced: tuple[str, ...]
  remark: str
  threshold: float

  @property
  def records(self) -> list[runs.Record]:
    """The records of the runs that are done, in the order of seeds."""
    return list(self.done.values())

  @property
  def missing(self) -> int:
    """The number of expected runs that were never started."""
    return self.expected - len(self.done) - len(self.unfinished)


def read(
  source: sources.Source,
  root: pathlib.Path,
  name: str,
  seeds: Collection[str],
  threshold: float | None,
  parameters: int,
) -> Group:
  """Reads the runs called `name`/seed<k>; damaged ones are left out and named.

  Args:
    source: the experiment.
    root: folder of run directories (--runs).
    name: of the runs.
    seeds: those that any run of the experiment has used.
    threshold: nats; overrides the fit threshold of the runs' configs.
    parameters: number of parameters of the paper's network; 0 if unknown.
  """
  folder = source.folder(root)
  known = [
    run
    for run in source.runs
    if run == f"{name}/{seed(run)}" and seed(run) in seeds
  ]
  shown = reading.used(source.report, name)
  done, unfinished, damaged, reduced, remarks = {}, [], {}, {}, {}
  for run in known:
    own = seed(run)
    config = source.get_config(run).to_dict()
    bookkeeping = config.pop("bookkeeping")
    try:
      record = reading.read(folder / run, config, shown)
    except reading.DamagedError as error:
      damaged[own] = str(error)
      unfinished.append(f"{own} cannot be read: {error}")
      continue
    if record.config:
      bookkeeping |= record.config["bookkeeping"]
    if threshold is None and runs.method_name(config) != "interpolate":
      threshold = bookkeeping["fit_threshold"]
    if not record.status:
      continue
    state = record.status["state"]
    if state != "done":
      epoch = record.rows[-1]["epoch"] if record.rows else 0
      unfinished.append(f"{own} {state} at epoch {epoch}")
      continue
    differences = done and comparability.setup_differences(
      next(iter(done.values())), record
    )
    if differences:
      unfinished.append(f"{own}, which has {differences}")
      continue
    done[own] = record
    why = comparability.reasons(
      config,
      record,
      source.report,
      parameters,
    )
    reduced |= dict.fromkeys(why)
    remarks[comparability.remark(record, source.report)] = None
  return Group(
    name,
    len(known),
    done,
    tuple(unfinished),
    damaged,
    tuple(reduced),
    "; ".join(filter(None, remarks)),
    threshold or 0.0,
  )


def seed(run: str) -> str:
  """Returns the last part of a run's name, such as "seed0"."""
  return run.rpartition("/")[2]
