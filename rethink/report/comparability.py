"""Comparison of a run's set-up with the paper's."""

from collections.abc import Mapping
from typing import Any

from rethink import experiments, specs
from rethink.storage import bounds, runs

# Fields that do not change what is measured: seeds, the batch size of
# evaluation, further metrics, and how a linear system is solved.
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
  """Returns the reasons why a run is not comparable with the paper.

  Args:
    expected: the config of the full-size run, without bookkeeping.
    record: the run.
    report: its `train_examples` and `stand_ins` are used.
    parameters: number of parameters of the paper's network; 0 if unknown.

  Returns:
    One text per difference; () if the run is comparable, or if the report has
    no source in the paper.
  """
  if not report.source:
    return ()
  outcome, status = record.config["outcome"], record.status
  differing = []
  dataset, wanted = _name(outcome["dataset"]), _name(expected["dataset"])
  if dataset != wanted and dataset not in report.stand_ins:
    differing.append(f"data set {dataset} instead of {wanted}")
  images = status["data"]["train"]
  if report.train_examples and images != report.train_examples:
    differing.append(f"{images:,} of {report.train_examples:,} training images")
  own = status["parameters"]
  if parameters and own != parameters:
    differing.append(f"{own:,} parameters instead of {parameters:,}")
  for field in sorted({*expected, *outcome} - _FREE - {"dataset"}):
    if field == "train_examples" and report.train_examples:
      continue  # the number of images is compared above
    if field in expected and field in outcome:
      if not _agrees(field, expected[field], outcome[field]):
        differing.append(
          f"{field} {_text(outcome[field])} instead of {_text(expected[field])}"
        )
  # An expected call may leave out defaults, so comparing calls does not show an
  # argument that was set on the command line. The recorded command line does.
  for argument in status["argv"]:
    field = argument.removeprefix("--config.").partition("=")[0]
    if not argument.startswith("--config.") or field not in outcome:
      continue
    if field in _COMPONENTS | _LISTS:
      if not any(reason.startswith(f"{field} ") for reason in differing):
        differing.append(f"{field} {_text(outcome[field])}, set by hand")
  # A different model explains most other differences, so it is named first.
  return tuple(
    sorted(differing, key=lambda reason: not reason.startswith("model "))
  )


def remark(record: runs.Record, report: experiments.Report) -> str:
  """Returns the remark on a stand-in data set; "" if it is none."""
  dataset = _name(record.config["outcome"]["dataset"])
  return report.stand_ins[dataset] if dataset in report.stand_ins else ""


def data_remarks(record: runs.Record) -> list[str]:
  """Returns what a reader of the run's accuracies has to know of its data."""
  found, data = bounds.of(record), record.status["data"]
  parts = []
  if found.ceiling < 1.0:
    parts.append(
      f"at most {100 * found.ceiling:.2f} % train accuracy can be attained, as"
      " equal images have different labels"
    )
  if found.train_duplicates:
    parts.append(
      f"{found.train_duplicates:,} of {data['train']:,} training images equal"
      " an earlier one"
    )
  if found.test_overlap:
    parts.append(
      f"{found.test_overlap:,} of {data['test']:,} test examples are training"
      " examples"
    )
  elif found.test_duplicates:
    parts.append(
      f"{found.test_duplicates:,} of {data['test']:,} test images equal a"
      " training image"
    )
  if found.constant_since is not None:
    parts.append(
      "the network gives the same output for every image since epoch"
      f" {found.constant_since}"
    )
  return parts


def setup_differences(first: runs.Record, record: runs.Record) -> str:
  """Describes how a seed's set-up differs from the first one's; "" if equal."""
  old, new = first.config["outcome"], record.config["outcome"]
  differing = [
    f"{field} {new[field]} instead of {old[field]}"
    for field in sorted(old.keys() & new.keys() - {"seed"})
    if old[field] != new[field]
  ]
  known, data = first.config["data"], record.config["data"]
  if not differing and known["fingerprint"] != data["fingerprint"]:
    differing.append("other data")
  return ", ".join(differing)


def _name(dataset: str) -> str:
  return dataset.partition(":")[0]  # another version is still the same data set


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
  """Returns whether two calls agree in every argument of the expected one.

  Args:
    expected: a call as the config writes it, defaults left out.
    actual: a call as a run records it, all arguments by name.
  """
  try:
    path, name, positional, named = specs.read(expected)
    actual_path, actual_name, _, complete = specs.read(actual)
  except (SyntaxError, ValueError, RecursionError, MemoryError):  # no calls
    return expected == actual
  complete = dict(complete)
  return (
    (path, name) == (actual_path, actual_name)
    and positional == list(complete.values())[: len(positional)]
    and all(k in complete and complete[k] == v for k, v in named)
  )
