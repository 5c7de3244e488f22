"""A config, checked and understood: the only reader of config fields' types."""

import dataclasses
import operator
import pathlib
import types
from collections.abc import Mapping
from typing import Any

from rethink import (
  bits,
  corruptions,
  errors,
  metrics,
  models,
  optimizers,
  regularizers,
  schedules,
  specs,
)
from rethink.corrupting import kinds

_POSITIVE = (
  "batch_size",
  "eval_batch_size",
  "num_epochs",
  "eval_every_epochs",
  "image_size",
  "learning_rate",
  "bookkeeping.chunk_seconds",
  "bookkeeping.checkpoint_every_epochs",
  "bookkeeping.checkpoint_every_seconds",
  "bookkeeping.checkpoints_to_keep",
  "bookkeeping.fit_threshold",
)
_NOT_NEGATIVE = (
  "seed",
  "data_seed",
  "train_examples",
  "eval_train_examples",
  "stop_at_train_loss",
  "ema_decay",
  "bookkeeping.examples_every_epochs",
  "bookkeeping.stream_threads",
  "bookkeeping.stream_workers",
)
_CHOICES = {
  "dtype": ("float32", "bfloat16"),
  "normalize": ("per_image", "symmetric"),
  "pipeline": ("resident", "stream"),
}


@dataclasses.dataclass(frozen=True)
class Settings:
  """Components looked up, everything else as it stands in the config.

  Attributes:
    config: the config itself, locked.
    model: the model's constructor and arguments.
    optimizer: gradients to direction.
    schedule: step to factor on the learning rate.
    corruptions: in the order in which they act.
    regularizers: in the order in which they act.
    outcome: the fields that change the result, components in canonical text;
      JSON values.
    bookkeeping: the fields that do not.
  """

  config: Any  # an ml_collections.ConfigDict, whose fields are dynamic
  model: specs.Call
  optimizer: specs.Call
  schedule: specs.Call
  corruptions: tuple[specs.Call, ...]
  regularizers: tuple[specs.Call, ...]
  outcome: Mapping[str, Any]
  bookkeeping: Mapping[str, Any]


def resolve(config: Any) -> Settings:
  """Checks a config and looks its components up.

  Raises:
    ConfigError: naming the field and what to do.
  """
  for field in (*_POSITIVE, *_NOT_NEGATIVE):
    value = operator.attrgetter(field)(config)
    if field in _POSITIVE and not value > 0:
      raise errors.ConfigError(f"config.{field} must be above 0, not {value}")
    if not value >= 0:
      raise errors.ConfigError(f"config.{field} must be 0 or more, not {value}")
  if not config.ema_decay < 1:
    raise errors.ConfigError(
      f"config.ema_decay must be below 1, not {config.ema_decay}"
    )
  for field in ("seed", "data_seed"):
    if config[field] >= 2**32:  # JAX would cut a longer one off
      raise errors.ConfigError(f"config.{field} must be below 2**32")
  if config.bookkeeping.best_metric not in metrics.NAMES:
    raise errors.ConfigError(
      f"config.bookkeeping.best_metric: {config.bookkeeping.best_metric!r} is"
      f" not logged; there are: {', '.join(metrics.NAMES)}"
    )
  for field, choices in _CHOICES.items():
    if config[field] not in choices:
      raise errors.ConfigError(
        f"config.{field} must be {' or '.join(map(repr, choices))}, not"
        f" {config[field]!r}"
      )
  if config.bookkeeping.cache_dir and config.pipeline != "stream":
    raise errors.ConfigError(
      "config.bookkeeping.cache_dir is for config.pipeline='stream'; images"
      " that are resident are decoded once anyway"
    )
  if not 0 <= config.central_fraction <= 1:
    raise errors.ConfigError(
      f"config.central_fraction must be 0 to 1, not {config.central_fraction}"
    )

  components = {
    "model": models.parse(config.model),
    "optimizer": call(config, "optimizer", optimizers),
    "schedule": call(config, "schedule", schedules),
    "corruptions": corruption_calls(config),
    "regularizers": calls(config, "regularizers", regularizers),
  }
  outcome, bookkeeping = parts(config, components)
  return Settings(
    config=config, outcome=outcome, bookkeeping=bookkeeping, **components
  )


def call(config: Any, field: str, module: types.ModuleType) -> specs.Call:
  """The component that a field names, of a module."""
  return specs.parse(config[field], specs.public(module), field)


def calls(
  config: Any, field: str, module: types.ModuleType
) -> tuple[specs.Call, ...]:
  """The components that a field names, in order."""
  if isinstance(config[field], str):
    raise errors.ConfigError(
      f"config.{field} is a tuple of calls; write ({config[field]!r},)"
    )
  known = specs.public(module)
  return tuple(specs.parse(text, known, field) for text in config[field])


def corruption_calls(config: Any) -> tuple[specs.Call, ...]:
  """The corruptions that a config names, in order.

  Raises:
    ConfigError: naming one that is neither of labels nor of pixels.
  """
  found = calls(config, "corruptions", corruptions)
  for corruption in found:
    kinds.kind(corruption)
  return found


def parts(
  config: Any, components: Mapping[str, specs.Call | tuple[specs.Call, ...]]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """(outcome, bookkeeping) of a config, its components in canonical text.

  A file that a component reads is in the outcome with a digest of its content.

  Raises:
    ConfigError: naming such a file that cannot be read.
  """
  outcome = config.to_dict()
  bookkeeping = outcome.pop("bookkeeping")
  digests = {}
  for field, value in components.items():
    # A Call is itself a tuple, hence the order of the two cases.
    outcome[field] = (
      str(value)
      if isinstance(value, specs.Call)
      else [str(call) for call in value]
    )
    for one in [value] if isinstance(value, specs.Call) else value:
      for path in specs.input_files(one):
        digests[path] = _digest(path, field)
  if digests:
    outcome["input_files"] = digests
  return outcome, bookkeeping


def _digest(path: str, field: str) -> str:
  try:
    return bits.digest(pathlib.Path(path).expanduser().read_bytes())
  except OSError as error:
    raise errors.ConfigError(
      f"config.{field}: cannot read {path!r}: {error.strerror}; the path is as"
      " seen from the folder in which the command runs"
    ) from None
