"""Is a run the paper's set-up, or smaller, or other?"""

import ast
import re
from collections.abc import Mapping
from typing import Any

from rethink import experiments
from rethink.storage import runs

# No part of the set-up: the seeds, how many images an evaluation takes and what
# else it logs, and how a linear system is solved.
_FREE = {
  *("seed", "data_seed", "eval_batch_size", "metrics"),
  *("preconditioner", "max_rounds"),
}
_COMPONENTS = {
  "method",
  "model",
  "optimizer",
  "schedule",
  "kernel",
  "interpolant",
}
_LISTS = {"corruptions", "regularizers", "features"}


def reasons(
  expected: Mapping[str, Any],
  record: runs.Record,
  report: experiments.Report,
  parameters: int,
) -> tuple[str, ...]:
  """Why a run is not comparable with the paper; () if it is, or there is none.

  Args:
    expected: the config of the full-size run, without bookkeeping.
    record: the run.
    report: gives the paper's number of images and what may stand for its data.
    parameters: of the paper's network, 0 for unknown.
  """
  if not report.source:
    return ()
  outcome, status = record.config["outcome"], record.status
  found = []
  dataset, wanted = _name(outcome["dataset"]), _name(expected["dataset"])
  if dataset != wanted and dataset not in report.stand_ins:
    found.append(f"data set {dataset} instead of {wanted}")
  images = status["data"]["train"]
  if report.train_examples and images != report.train_examples:
    found.append(f"{images:,} of {report.train_examples:,} training images")
  own = status["parameters"]
  if parameters and own != parameters:
    found.append(f"{own:,} parameters instead of {parameters:,}")
  for field in sorted({*expected, *outcome} - _FREE - {"dataset"}):
    if field == "train_examples" and report.train_examples:
      continue  # said above, whatever the reason
    if field in expected and field in outcome:
      if not _agrees(field, expected[field], outcome[field]):
        found.append(
          f"{field} {_text(outcome[field])} instead of {_text(expected[field])}"
        )
  # A default that was overridden cannot be told from the default by its value.
  for argument in status["argv"]:
    field = argument.removeprefix("--config.").partition("=")[0]
    if argument.startswith("--config.") and field in _COMPONENTS | _LISTS:
      if not any(reason.startswith(f"{field} ") for reason in found):
        found.append(f"{field} {_text(outcome[field])}, set by hand")
  # What else differs says little once the model is another one.
  return tuple(
    sorted(found, key=lambda reason: not reason.startswith("model "))
  )


def remark(record: runs.Record, report: experiments.Report) -> str:
  """What has to be said of the data beside every number; "" for nothing."""
  dataset = _name(record.config["outcome"]["dataset"])
  return report.stand_ins[dataset] if dataset in report.stand_ins else ""


def _name(dataset: str) -> str:
  return dataset.partition(":")[0]  # without the version


def _text(value: Any) -> str:
  if isinstance(value, (list, tuple)):
    return ", ".join(map(str, value)) or "none"
  return f"{value:,}" if isinstance(value, int) else str(value)


def _agrees(field: str, expected: Any, actual: Any) -> bool:
  if field in _COMPONENTS:
    return _same_call(expected, actual)
  if field in _LISTS:
    return len(expected) == len(actual) and all(
      map(_same_call, expected, actual)
    )
  return expected == actual


def _same_call(expected: str, actual: str) -> bool:
  """Whether a complete call has all arguments of one that leaves some out."""
  wanted, found = _parse(expected), _parse(actual)
  if wanted is None or found is None:
    return expected == actual
  name, positional, named = wanted
  complete = found[2]
  return (
    name == found[0]
    and positional == list(complete.values())[: len(positional)]
    and all(k in complete and complete[k] == v for k, v in named.items())
  )


def _parse(call: str) -> tuple[str, list, dict[str, Any]] | None:
  match = re.match(r"[\w.]+:", call)  # the module of a user's component
  module = match[0] if match else ""
  try:
    node = ast.parse(call[len(module) :], mode="eval").body
  except SyntaxError:  # as it was written, then
    return None
  if isinstance(node, ast.Name):
    return module + node.id, [], {}
  if not isinstance(node, ast.Call):
    return None
  return (
    module + ast.unparse(node.func),
    [ast.literal_eval(value) for value in node.args],
    {str(k.arg): ast.literal_eval(k.value) for k in node.keywords},
  )
