"""The type and range of every config field, in one table.

A field that configs/base.py or configs/kernels.py gets needs a row here; texts
and tuples of calls have none beyond their type.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rethink import errors

_INT32 = 2**31 - 1  # steps, epochs and rows are counted in int32
_LARGEST = 3.4e38  # of float32
_SMALLEST = 1.2e-38  # above 0 in float32 on every device


class Range(NamedTuple):
  """The values that a number may have.

  Attributes:
    kind: int or float; a float may be written as an integer.
    low: smallest value.
    high: largest value.
    below: whether `high` itself is out of range.
  """

  kind: type
  low: float
  high: float
  below: bool = False

  def explain(self, value: Any) -> str:
    """Returns what the value must be instead; "" if it is in range."""
    if type(value) not in (self.kind, int):  # a bool is no number
      noun = "a whole number" if self.kind is int else "a number"
      return f"must be {noun}"
    if value >= self.low and (
      value < self.high or (value == self.high and not self.below)
    ):
      return ""
    if (self.low, self.high, self.below) == (0, 1, False):
      return "must be 0 to 1"
    if not value >= self.low:  # neither is NaN
      least = f"{self.low:g} or more"
      return f"must be {'above 0' if value <= 0 < self.low else least}"
    shown = f"{self.high:,}" if self.kind is int else f"{self.high:g}"
    return f"must be {'below' if self.below else 'at most'} {shown}"


_COUNT = Range(int, 1, _INT32)
_COUNT_OR_NONE = Range(int, 0, _INT32)
_SEED = Range(int, 0, 2**32, below=True)  # JAX would cut a longer one off
_POSITIVE = Range(float, _SMALLEST, _LARGEST)
_NOT_NEGATIVE = Range(float, 0, _LARGEST)

RANGES: Mapping[str, Range] = {
  "seed": _SEED,
  "data_seed": _SEED,
  "train_examples": _COUNT_OR_NONE,
  "image_size": Range(int, 0, 2**15),
  "central_fraction": Range(float, 0, 1),
  "batch_size": _COUNT,
  "num_epochs": _COUNT,
  "stop_at_train_loss": _NOT_NEGATIVE,
  "learning_rate": _POSITIVE,
  "ema_decay": Range(float, 0, 1, below=True),
  "eval_batch_size": _COUNT,
  "eval_every_epochs": _COUNT,
  "eval_train_examples": _COUNT_OR_NONE,
  "reestimate_batch_stats": _COUNT_OR_NONE,
  # Kernel methods.
  "held_out": _COUNT_OR_NONE,
  "ridge": _NOT_NEGATIVE,
  "tolerance": Range(float, _SMALLEST, 1),
  "max_rounds": _COUNT,
  # Signals are looked at between chunks: an hour would be long enough.
  "bookkeeping.chunk_seconds": Range(float, _SMALLEST, 3600),
  "bookkeeping.examples_every_epochs": _COUNT_OR_NONE,
  "bookkeeping.checkpoint_every_epochs": _COUNT,
  "bookkeeping.checkpoint_every_seconds": _POSITIVE,
  "bookkeeping.checkpoints_to_keep": Range(int, 1, 10**6),
  "bookkeeping.fit_threshold": _POSITIVE,
  "bookkeeping.stream_threads": Range(int, 0, 1024),
  "bookkeeping.stream_workers": Range(int, 0, 1024),
  "bookkeeping.spectrum_points": _COUNT_OR_NONE,
  "bookkeeping.tile_rows": _COUNT_OR_NONE,
}
CHOICES: Mapping[str, tuple[str, ...]] = {
  "dtype": ("float32", "bfloat16"),
  "framing": ("", "crop", "resize"),
  "normalize": ("per_image", "symmetric"),
  "pipeline": ("resident", "stream"),
}


def check(config: Any, known: Any) -> None:
  """Refuses a config with an unknown field, or a value that none can have.

  Args:
    config: a ConfigDict, as a user's file and command line have made it.
    known: the base config, which has every field with a value of its type.

  Raises:
    ConfigError: naming the field, and what it must be.
  """
  values, defaults = dict(_flat(config)), dict(_flat(known))
  for field in values:
    if field not in defaults:
      ends = {name.rpartition(".")[2]: name for name in defaults}
      near = errors.did_you_mean(field, defaults)
      if not near and field in ends:
        near = f" (did you mean {ends[field]!r}?)"
      raise errors.ConfigError(
        f"config.{field}: there is no such field{near}; configs/base.py lists"
        " all fields, and configs/kernels.py those of kernel methods"
      )
  for field, default in defaults.items():
    if field not in values:
      raise errors.ConfigError(
        f"config.{field} is missing; begin with base.get_config() of"
        " configs/base.py, which has every field"
      )
    wrong = _explain(field, values[field], default)
    if wrong:
      raise errors.ConfigError(
        f"config.{field} {wrong}, not {errors.shown(values[field])}"
      )


def _explain(field: str, value: Any, default: Any) -> str:
  if value is None and default is None:
    return ""
  if field in RANGES:
    return RANGES[field].explain(value)
  if field in CHOICES and value not in CHOICES[field]:
    return f"must be {' or '.join(map(repr, CHOICES[field]))}"
  if isinstance(default, tuple):
    # A text is told apart where the calls are read.
    if not isinstance(value, (str, tuple, list)):
      return "must be a tuple of calls in quotes"
  elif type(value) is not type(default):
    return f"must be {_NOUNS[type(default)]}"
  return ""


_NOUNS = {bool: "True or False", str: "a text in quotes"}


def _flat(config: Any) -> Iterator[tuple[str, Any]]:
  """Yields "bookkeeping.field" and value, however deep the configs lie."""
  for name, value in config.items():
    if hasattr(value, "items"):
      for inner, found in _flat(value):
        yield f"{name}.{inner}", found
    else:
      yield name, value
