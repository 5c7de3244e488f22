"""Writes and reads run directories: config, status, metrics.

  config.json    the config; its outcome fields make the fingerprint
  status.json    the progress, with code, versions and device
  metrics.jsonl  one row per evaluated epoch, keys "<split>/<name>"; durations
                 and clock times are under "time/"
  checkpoints/   the newest states; best/ has the one with the best metric
  examples/      epoch<NNNN>.npz: loss and correctness of each training example
  curves/        <name>.npz: measurements over another axis than epochs
  damaged/       states that failed their check
  sources/       the user's own modules that the run was begun with
  lock.json      the process that uses the directory

Imports no JAX, because reports read runs on machines without it.
"""

import datetime
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rethink import errors
from rethink.storage import (
  array_files,
  completeness,
  continuations,
  files,
  fingerprints,
  ownership,
  provenance,
  schema,
  user_sources,
)

Row = dict[str, Any]
EXAMPLES = array_files.EXAMPLES  # the columns of a per-example file


class Record(NamedTuple):
  """A run directory as read from disk; missing files read as empty.

  Attributes:
    workdir: the run directory.
    config: content of config.json.
    status: content of status.json.
    rows: rows of metrics.jsonl by step; an incomplete last line is left out.
  """

  workdir: pathlib.Path
  config: dict[str, Any]
  status: dict[str, Any]
  rows: list[Row]


def read(workdir: str | os.PathLike) -> Record:
  """Reads a run directory, finished or not.

  Raises:
    RecordError: if a file is damaged, or a run that is done has lost results;
      the message names file and field.
  """
  path = pathlib.Path(workdir)
  record = Record(
    path,
    schema.config(path / schema.CONFIG),
    schema.status(path / schema.STATUS),
    schema.rows(path / schema.METRICS),
  )
  if record.status and record.status["state"] == "done":
    schema.check_done(path / schema.CONFIG, record.config)
    trained = method_of(record) == "train"
    completeness.check_done(path, *record[1:], trained=trained)
  return record


def read_examples(
  workdir: str | os.PathLike,
) -> dict[int, dict[str, np.ndarray]]:
  """Reads what `Run.log_examples` wrote, epoch to arrays; {} for nothing.

  Raises:
    ConfigError: naming a file that cannot be read.
  """
  return array_files.read_examples(pathlib.Path(workdir))


def read_curve(workdir: str | os.PathLike, name: str) -> dict[str, np.ndarray]:
  """Reads the arrays that `Run.log_curve` wrote; {} if there is no such curve.

  Raises:
    ConfigError: naming a file that cannot be read.
  """
  return array_files.read_curve(pathlib.Path(workdir), name)


def epochs_to_fit(rows: Sequence[Row], threshold: float) -> int | None:
  """Returns the first evaluated epoch with clean train loss <= threshold.

  The paper gives no criterion; 0.05 explains its Figures 1a and 1b.
  """
  trained = (row for row in rows if row["epoch"])  # 0 is that of a solution
  fitted = (
    r["epoch"] for r in trained if r.get("train/loss", math.inf) <= threshold
  )
  return next(fitted, None)


def has_begun(record: Record) -> bool:
  """Returns True if a directory has a result or a state, and so is one run's.

  A run that was refused or killed early has nothing to lose, and does not hold
  its directory against a corrected config.
  """
  return _has_result(record) and bool(record.config)


def _has_result(record: Record) -> bool:
  saved = (record.workdir / "checkpoints").glob("*")
  done = record.status.get("state") == "done"
  return done or any(ownership.is_step(step.name) for step in saved)


def method_of(record: Record) -> str:
  """Returns the name of a run's method; older runs have it in config.json."""
  if "method" in record.status:
    return record.status["method"]
  return method_name(record.config["outcome"])


def method_name(outcome: Mapping[str, Any]) -> str:
  """Returns the method's name in the fields of a config."""
  return outcome.get("method", "train").partition("(")[0]


class Run:
  """A run directory that is being written.

  Attributes:
    name: for people.
    workdir: where it lies.
    rows: the metrics so far, one row per evaluated epoch.
    check_lock: raises if another process has taken the directory over.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    outcome: Mapping[str, Any],
    bookkeeping: Mapping[str, Any],
    name: str = "",
    restart: bool = False,
    check_lock: Callable[[], None] = lambda: None,
    refuse_longer: Callable[[], str] = lambda: "its length is fixed",
  ):
    """Creates the directory, or opens it if it is of the same run.

    Args:
      workdir: the directory.
      outcome: the fields that change the result.
      bookkeeping: the other fields.
      name: for people; by default the directory's.
      restart: forget what is there: config, status and rows.
      check_lock: raises if another process has taken the directory over.
      refuse_longer: returns why a run of fewer epochs may not go on, or "".

    Raises:
      ConfigError: with the fields that differ, if it is of another run.
    """
    self.workdir = pathlib.Path(workdir).absolute()
    self.name = name or self.workdir.name
    files.make_folder(self.workdir)
    empty = Record(self.workdir, {}, {}, [])
    record = empty if restart else read(self.workdir)
    self.check_lock = check_lock
    outcome = json.loads(json.dumps(outcome))  # as it would be read back
    known = has_begun(record)
    self._going_on = continuations.begin(
      record if known else None, outcome, refuse_longer
    )
    self.rows = record.rows
    self._restart, self._fresh = restart, restart or not _has_result(record)
    self._config = {
      **self._going_on.config,
      "bookkeeping": json.loads(json.dumps(bookkeeping)),
      "data": record.config["data"] if known else {},
    }
    self._status = record.status if known else {}
    self._seconds_before = self._status.get("seconds", 0.0)
    self._began = time.monotonic()

  @property
  def status(self) -> Mapping[str, Any]:
    """The content of status.json."""
    return self._status

  @property
  def identity(self) -> dict[str, str]:
    """The fingerprints that saved states must share; needs `check_data`."""
    return {
      "config": continuations.began_as(self._config),
      "data": self._config["data"]["fingerprint"],
      "commit": self._status["commit"],
    }

  @property
  def done(self) -> bool:
    """True if an earlier process has finished the run."""
    return self._status.get("state") == "done" and not self._going_on.longer

  def start(self) -> None:
    """Writes config.json and the state "running" to the directory."""
    if self._restart:
      ownership.set_unreadable_aside(self.workdir)
    if self._fresh:  # nothing will describe the rows of an earlier start
      ownership.remove(self.workdir / schema.METRICS, self.workdir)
    files.write_json(self.workdir / schema.CONFIG, self._config)
    self._status = {
      **self._status,
      "fingerprint": self._config["fingerprint"],
      "argv": sys.argv,
      **provenance.read(user_sources.keep(self.workdir, self._config)),
    }
    self.update(state="running", message="")

  @property
  def seconds(self) -> float:
    """Seconds spent on the run, including earlier processes."""
    return self._seconds_before + time.monotonic() - self._began

  def check_data(self, data: Mapping[str, Any]) -> None:
    """Binds the run to a data set.

    Raises:
      ConfigError: with what differs, if the run was started on other data.
    """
    data = json.loads(json.dumps(data))
    known = self._config["data"]
    changed = known and fingerprints.differences(known, data)
    if changed:
      raise errors.ConfigError(
        f"{self.workdir} was started on other data:\n  "
        + "\n  ".join(changed)
        + "\nput the old data set back, or give another --workdir"
      )
    self._config["data"] = data
    files.write_json(self.workdir / schema.CONFIG, self._config)

  def cut(self, step: int = -1, epoch: int = 0) -> None:
    """Deletes rows after a step and per-example files after an epoch."""
    self.rows = [row for row in self.rows if row["step"] <= step]
    text = "".join(_line(row) for row in self.rows)
    files.write(self.workdir / schema.METRICS, text)
    array_files.cut_examples(self.workdir, epoch)

  def log(self, row: Row) -> None:
    """Appends a row durably to metrics.jsonl."""
    self.check_lock()
    self.rows.append(row)
    files.append(self.workdir / schema.METRICS, _line(row))

  def log_examples(self, epoch: int, arrays: Mapping[str, Any]) -> None:
    """Writes loss and correctness of each training example after an epoch.

    Args:
      epoch: counted from 1.
      arrays: the names of EXAMPLES, each [n], sorted by id.
    """
    array_files.write_examples(self.workdir, epoch, arrays)

  def log_curve(self, name: str, **arrays: Any) -> None:
    """Writes a curve over another axis than epochs, such as a spectrum.

    Args:
      name: name of the curve and its file; an existing curve is replaced.
      **arrays: arrays of equal length, each [n]; a figure chooses x and y.
    """
    array_files.write_curve(self.workdir, name, arrays)

  def update(self, **fields: Any) -> None:
    """Rewrites status.json with these fields changed."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    self._status.update(
      fields, seconds=round(self.seconds, 3), updated=now, pid=os.getpid()
    )
    self.check_lock()
    files.write_json(self.workdir / schema.STATUS, self._status)


def _line(row: Row) -> str:
  return json.dumps(row, allow_nan=False) + "\n"
