"""A config, checked and understood: the only reader of config fields' types."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

from rethink import (
  corruptions,
  errors,
  metrics,
  models,
  optimizers,
  regularizers,
  schedules,
  specs,
)

_POSITIVE = (
  "batch_size",
  "eval_batch_size",
  "num_epochs",
  "eval_every_epochs",
  "image_size",
  "learning_rate",
)
_BOOKKEEPING_POSITIVE = (
  "chunk_seconds",
  "checkpoint_every_epochs",
  "checkpoint_every_seconds",
  "checkpoints_to_keep",
  "fit_threshold",
)
_NOT_NEGATIVE = ("seed", "data_seed", "train_examples", "stop_at_train_loss")


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
  flat = {
    **{field: config[field] for field in _POSITIVE},
    **{
      f"bookkeeping.{field}": config.bookkeeping[field]
      for field in _BOOKKEEPING_POSITIVE
    },
  }
  for field, value in flat.items():
    if not value > 0:
      raise errors.ConfigError(f"config.{field} must be above 0, not {value}")
  for field in _NOT_NEGATIVE:
    if not config[field] >= 0:
      raise errors.ConfigError(
        f"config.{field} must be 0 or more, not {config[field]}"
      )
  if config.bookkeeping.examples_every_epochs < 0:
    raise errors.ConfigError(
      "config.bookkeeping.examples_every_epochs must be 0 or more"
    )
  for field in ("seed", "data_seed"):
    if config[field] >= 2**32:  # JAX would cut a longer one off
      raise errors.ConfigError(f"config.{field} must be below 2**32")
  if config.bookkeeping.best_metric not in metrics.NAMES:
    raise errors.ConfigError(
      f"config.bookkeeping.best_metric: {config.bookkeeping.best_metric!r} is"
      f" not logged; there are: {', '.join(metrics.NAMES)}"
    )
  if config.dtype not in ("float32", "bfloat16"):
    raise errors.ConfigError(
      f"config.dtype must be 'float32' or 'bfloat16', not {config.dtype!r}"
    )

  components = {
    "model": models.parse(config.model),
    "optimizer": call(config, "optimizer", optimizers),
    "schedule": call(config, "schedule", schedules),
    "corruptions": calls(config, "corruptions", corruptions),
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


def parts(
  config: Any, components: Mapping[str, specs.Call | tuple[specs.Call, ...]]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """(outcome, bookkeeping) of a config, its components in canonical text."""
  outcome = config.to_dict()
  bookkeeping = outcome.pop("bookkeeping")
  for field, value in components.items():
    # A Call is itself a tuple, hence the order of the two cases.
    outcome[field] = (
      str(value)
      if isinstance(value, specs.Call)
      else [str(call) for call in value]
    )
  return outcome, bookkeeping
