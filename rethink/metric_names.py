"""The names of metrics in rows, and checks of further metrics.

Training rows are named after `label`, which the model is asked to fit, test
rows after `true_label`, which it should predict; `train/true_<name>` and
`test/corrupted_<name>` are against the other one. `test/corrupted_*` are
against test labels corrupted like the training labels, as Figure 1c shows.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rethink import errors, metrics, specs

# Logged of every run.
BUILT_IN = ("loss", "accuracy")
# Logged of data sets with more classes than TOP.
TOP = 5
TOP_NAME = f"top{TOP}_accuracy"
# Names that other rows of a run have, after "train/" or "test/".
_RESERVED = {
  *("accuracy_on_clean", "accuracy_on_corrupted", "float32_accuracy"),
  *(f"{prefix}{TOP_NAME}" for prefix in ("", "true_", "corrupted_")),
}


class Metric(NamedTuple):
  """A metric and all its arguments; hashable.

  Its arguments are part of its name, and a program is compiled for each set of
  names; so float arguments are static, unlike those of other components.

  Attributes:
    name: in rows, after "train/" or "test/" and "true_" or "corrupted_".
    text: the call, for messages.
    function: of logits and labels, and the arguments.
    arguments: (name, value) pairs.
  """

  name: str
  text: str
  function: Callable[..., Any]
  arguments: tuple[tuple[str, Any], ...]

  def __call__(self, logits: Any, labels: Any) -> Any:
    """Returns a float or bool for each example."""
    return self.function(logits, labels, **dict(self.arguments))


def resolve(calls: Iterable[specs.Call]) -> tuple[Metric, ...]:
  """Names the metrics of a config.

  Raises:
    ConfigError: if two metrics would be logged under one name.
  """
  known = {key for name in BUILT_IN for key in _keys(name)}
  known |= {
    f"{split}/{name}" for split in ("train", "test") for name in _RESERVED
  }
  found = []
  for call in calls:
    name = _name(call)
    taken = known & set(_keys(name))
    if taken:
      raise errors.ConfigError(
        f"config.metrics: {call} would be logged as {min(taken)}, a name that"
        " another metric has; leave it out, or give the function another name"
      )
    known |= set(_keys(name))
    arguments = tuple(call.kwargs.items())
    found.append(Metric(name, str(call), call.function, arguments))
  return tuple(found)


def _name(call: specs.Call) -> str:
  """Returns "margin", or "top_k_accuracy_k_3": arguments that are no defaults.

  TensorBoard's tags have no parentheses.
  """
  parameters = inspect.signature(call.function).parameters
  parts = [call.name.rpartition(":")[2]]
  for key, value in call.kwargs.items():
    if value != parameters[key].default:
      parts += [key, str(value)]
  return re.sub(r"[^\w.-]+", "_", "_".join(parts)).rstrip("_")


def _keys(name: str) -> tuple[str, ...]:
  """Returns what a metric of this name adds to each row."""
  return (
    f"train/{name}",
    f"train/true_{name}",
    f"test/{name}",
    f"test/corrupted_{name}",
  )


def best_of(further: Sequence[Metric]) -> dict[str, int]:
  """Returns the keys that `bookkeeping.best_metric` may name.

  Returns:
    Key to 1 if the highest value is the best, -1 if the lowest is: where the
    metric's function has a true attribute `lower_is_better`.
  """
  functions: dict[str, Callable] = {
    "loss": metrics.loss,
    "accuracy": metrics.accuracy,
    **{metric.name: metric.function for metric in further},
  }
  return {
    key: -1 if getattr(function, "lower_is_better", False) else 1
    for name, function in functions.items()
    for key in _keys(name)
  }


def check_finite(row: Mapping[str, Any], further: Sequence[Metric]) -> None:
  """Refuses a row whose further metrics are not finite.

  Raises:
    ConfigError: naming the metric.
  """
  for metric in further:
    for key in _keys(metric.name):
      if not math.isfinite(row[key]):
        raise errors.ConfigError(
          f"config.metrics: {metric.text} is not finite for some example:"
          f" {key} is {row[key]} at step {row['step']}; mend the function, or"
          " leave it out and give another --workdir"
        )
