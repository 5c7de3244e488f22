"""The two types that every method is written with."""

from collections.abc import Callable
from typing import Any, NamedTuple

from rethink import signals
from rethink.storage import runs


class Job(NamedTuple):
  """A run that a method has to execute.

  Attributes:
    settings: the checked config, as the method's `resolve` returned it.
    run: the open run directory.
    data_dir: the folder of prepared data sets.
    stop: set when the method should save what it can and leave.
  """

  settings: Any
  run: runs.Run
  data_dir: str
  stop: signals.StopFlag


class Method(NamedTuple):
  """Something that a run can do: `config.method` names it.

  Attributes:
    resolve: checks a config and looks its components up; returns settings with
      the attributes config, outcome and bookkeeping.
    execute: does it: (job, **arguments of the call in config.method). Raises a
      RethinkError whose class says how the run ended.
    many_processes: whether several processes can share a run.
    pipelines: the values of `config.pipeline` that it can use; () if its
      configs have no such field.
    refuse_longer: returns why a run of these settings may not get more epochs
      after it was begun with fewer, or "" if it may.
  """

  resolve: Callable[[Any], Any]
  execute: Callable[..., None]
  many_processes: bool
  pipelines: tuple[str, ...]
  refuse_longer: Callable[[Any], str] = lambda _: "it is not trained by epochs"
