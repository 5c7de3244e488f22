"""The one place where a report reads a run, and refuses a damaged one.

A report goes on without a run that is refused here; what is returned has every
field that the rest of the report uses, of the right type.
"""

import math
import pathlib
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rethink import errors, experiments
from rethink.storage import runs


class DamagedError(errors.RethinkError):
  """A run directory cannot be used; the message names file and field."""


_FILES = ("config.json", "status.json", "metrics.jsonl")
# What a report uses of a run that is done, besides what every reader of a run
# needs: a type, or the fields of an object.
_WORDS = {str: "a text", int: "a whole number", float: "a number"}
_WORDS |= {list: "a list", bool: "true or false"}
_NEEDED = {
  "train": {
    "learning_rate": float,
    "schedule": str,
    "num_epochs": int,
    "eval_every_epochs": int,
    "model": str,
    "regularizers": list,
  },
  "interpolate": {"features": list, "kernel": str, "ridge": float},
}
_METRICS = (
  *("train/loss", "train/accuracy", "test/accuracy", "batch/accuracy"),
  *("train/accuracy_on_clean", "train/accuracy_on_corrupted"),
)


class Used(NamedTuple):
  """The numbers that a report shows of the runs of one name.

  Attributes:
    metrics: keys in the rows of metrics.jsonl.
    fields: fields of status.json, as `measures.status` names them.
    traces: the curves.
  """

  metrics: set[str]
  fields: set[str]
  traces: list[experiments.Trace]


def used(report: experiments.Report, name: str) -> Used:
  """Returns what a report shows of the runs called `name`/seed<k>."""
  found = Used(set(_METRICS), set(), [])
  for table in report.tables:
    for column in table.columns:
      kind = found.fields if column.measure == "status" else found.metrics
      kind.add(column.metric)
  for plot in report.figures:
    if isinstance(plot, experiments.Curves):
      found.metrics.update(line.metric for line in plot.lines)
    elif isinstance(plot, experiments.Profile):
      found.traces.extend(t for t in plot.traces if t.runs == name)
  return found


def read(
  folder: pathlib.Path, expected: Mapping[str, Any], shown: Used
) -> runs.Record:
  """Reads a run directory, finished or not.

  Args:
    folder: the run directory.
    expected: the config of the run as its file gives it, for the types.
    shown: what the report shows of the run.

  Raises:
    DamagedError: if the run cannot be read, or is done but not complete.
  """
  try:
    record = runs.read(folder)
    if record.status and record.status["state"] == "done":
      _check_done(record, expected, shown)
  except DamagedError:
    raise
  except (errors.RethinkError, OSError, ValueError, RecursionError) as error:
    reason = errors.reason(error).replace(f"{folder}/", "")
    if not any(name in reason for name in (*_FILES, "curves/")):
      reason = f"{', '.join(_FILES)}: one cannot be read: {reason}"
    raise DamagedError(reason) from None
  return record


def _check_done(
  record: runs.Record, expected: Mapping[str, Any], shown: Used
) -> None:
  """Checks what is used of a run that is done; `runs.read` has checked it."""
  config, status = record.config, record.status
  _finite("config.json", config)
  _finite("status.json", status)
  _fields("config.json", config, {"outcome": {"dataset": str}})
  _fields(
    "status.json", status, {"versions": {"jax": str}, "data": {"test": int}}
  )
  for field in shown.fields:
    *path, name = field.split("/")
    inner: Any = status
    for part in path:
      inner = inner.get(part) if isinstance(inner, dict) else None
    if isinstance(inner, dict):
      _nullable("status.json", inner, {name: float})
  outcome = config["outcome"]
  kinds = {key: _kind(value) for key, value in expected.items()}
  kinds = {key: kind for key, kind in kinds.items() if kind is not None}
  _optional("config.json", outcome, kinds)
  for key, value in outcome.items():
    if isinstance(value, list):
      _texts("config.json", key, value)
  method = runs.method_of(record)
  if method in _NEEDED:
    _fields("config.json", outcome, _NEEDED[method])
  if method == "train":
    for number, row in enumerate(record.rows, 1):
      _fields(f"metrics.jsonl:{number}", row, {"train/loss": float})
  for trace in shown.traces:
    _check_curve(runs.read_curve(record.workdir, trace.curve), trace)


def _kind(value: Any) -> Any:
  if isinstance(value, (list, tuple)):
    return list
  return type(value) if type(value) in _WORDS else None


def _fields(where: str, found: Any, wanted: Mapping[str, Any]) -> None:
  """Checks that an object has all wanted fields."""
  if not isinstance(found, dict):
    raise DamagedError(f"{where} is {found!r:.40}, not an object")
  if wanted and not found:
    raise DamagedError(f"{where} is empty or missing")
  for name, kind in wanted.items():
    if name not in found:
      raise DamagedError(f"{where} has no field {name!r}")
    if isinstance(kind, dict):
      _fields(f"{where}, {name},", found[name], kind)
    elif not _is(found[name], kind):
      raise DamagedError(
        f"{where}: {name} is {found[name]!r:.40}, not {_WORDS[kind]}"
      )


def _optional(where: str, found: Any, wanted: Mapping[str, Any]) -> None:
  """Checks those of the wanted fields that are there."""
  _fields(where, found, {})
  _fields(where, found, {k: v for k, v in wanted.items() if k in found})


def _nullable(where: str, found: Any, wanted: Mapping[str, Any]) -> None:
  """Checks those of the wanted fields that are there and not null."""
  _fields(where, found, {})
  known = {k: v for k, v in wanted.items() if found.get(k) is not None}
  _fields(where, found, known)


def _is(value: Any, kind: type) -> bool:
  if kind in (int, float) and isinstance(value, bool):
    return False
  if kind is float and isinstance(value, int):
    return abs(value) < sys.float_info.max
  if kind is float:
    return isinstance(value, float) and math.isfinite(value)
  return isinstance(value, kind)


def _finite(where: str, value: Any) -> None:
  """Checks that no number in a value is infinite or NaN."""
  if isinstance(value, float) and not math.isfinite(value):
    raise DamagedError(f"{where} has the number {value}")
  if isinstance(value, (dict, list)):
    for inner in value.values() if isinstance(value, dict) else value:
      _finite(where, inner)


def _texts(where: str, name: str, values: list[Any]) -> None:
  if not all(isinstance(value, str) for value in values):
    raise DamagedError(f"{where}: {name} is not a list of texts")


def _check_curve(
  curve: Mapping[str, np.ndarray], trace: experiments.Trace
) -> None:
  if not curve:  # a run need not have every curve
    return
  where = f"curves/{trace.curve}.npz"
  for name in (trace.x, trace.y):
    if name not in curve:
      raise DamagedError(f"{where} has no array {name!r}")
    if curve[name].ndim != 1 or curve[name].dtype.kind not in "iuf":
      raise DamagedError(f"{where}: {name} is no list of numbers")
  if len(curve[trace.x]) != len(curve[trace.y]):
    raise DamagedError(f"{where}: {trace.x} and {trace.y} differ in length")
