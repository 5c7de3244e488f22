"""A config, checked and understood: the only reader of config fields' types."""

import dataclasses
import pathlib
import types
from collections.abc import Mapping
from typing import Any

from configs import base
from rethink import (
  bits,
  corruptions,
  descent,
  errors,
  example,
  losses,
  metric_names,
  metrics,
  models,
  optimizers,
  regularizers,
  schedules,
  specs,
)
from rethink.fields import ranges

# Fields that older runs do not have, and the canonical value that they had in
# effect. A field of that value stays out of the outcome, so that older runs
# keep their fingerprints.
ADDED_FIELDS: Mapping[str, Any] = {
  "framing": "",
  "loss": "cross_entropy()",
  "metrics": [],
  "reestimate_batch_stats": 0,
}


@dataclasses.dataclass(frozen=True)
class Settings:
  """Components looked up, everything else as it stands in the config.

  Attributes:
    config: the config itself, locked.
    model: the model's constructor and arguments.
    loss: of logits against targets.
    optimizer: gradients to direction or update, see `rethink/descent.py`.
    schedule: step to factor on the learning rate.
    corruptions: in the order in which they act.
    regularizers: in the order in which they act.
    metrics: beside the built-in ones.
    outcome: the fields that change the result, components in canonical text;
      JSON values.
    bookkeeping: the fields that do not.
  """

  config: Any  # an ml_collections.ConfigDict, whose fields are dynamic
  model: specs.Call
  loss: specs.Call
  optimizer: specs.Call
  schedule: specs.Call
  corruptions: tuple[specs.Call, ...]
  regularizers: tuple[specs.Call, ...]
  metrics: tuple[metric_names.Metric, ...]
  outcome: Mapping[str, Any]
  bookkeeping: Mapping[str, Any]


def resolve(config: Any) -> Settings:
  """Checks a config and looks its components up.

  Raises:
    ConfigError: naming the field and what to do.
  """
  ranges.check(config, base.get_config())
  if 0 < config.reestimate_batch_stats < config.batch_size:
    raise errors.ConfigError(
      "config.reestimate_batch_stats must be 0 or at least one batch"
      f" (config.batch_size={config.batch_size}), not"
      f" {config.reestimate_batch_stats}"
    )
  if config.bookkeeping.cache_dir and config.pipeline != "stream":
    raise errors.ConfigError(
      "config.bookkeeping.cache_dir is for config.pipeline='stream'; images"
      " that are resident are decoded once anyway"
    )

  components = {
    "model": models.parse(config.model),
    "loss": call(config, "loss", losses),
    "optimizer": descent.parse(config.optimizer, specs.public(optimizers)),
    "schedule": call(config, "schedule", schedules),
    "corruptions": calls(config, "corruptions", corruptions),
    "regularizers": calls(config, "regularizers", regularizers),
  }
  further = calls(config, "metrics", metrics)
  outcome, bookkeeping = parts(config, {**components, "metrics": further})
  named = metric_names.resolve(further)
  best = metric_names.best_of(named)
  if config.bookkeeping.best_metric not in best:
    wanted = errors.shown(config.bookkeeping.best_metric)
    raise errors.ConfigError(
      f"config.bookkeeping.best_metric: {wanted} is not logged; there are:"
      f" {', '.join(best)}"
    )
  return Settings(
    config=config,
    metrics=named,
    outcome=outcome,
    bookkeeping=bookkeeping,
    **components,
  )


def with_image_size(known: Any, image_size: int) -> Any:
  """Returns the settings of a run with the size of its data filled in.

  The outcome stays as it is: a run is what its config says.

  Args:
    known: settings of any method.
    image_size: height and width of what the model sees, in pixels.
  """
  if known.config.image_size == image_size:
    return known
  config = known.config.copy_and_resolve_references()
  with config.unlocked():
    config.image_size = image_size
  return dataclasses.replace(known, config=config.lock())


def call(config: Any, field: str, module: types.ModuleType) -> specs.Call:
  """The component that a field names, of a module."""
  return specs.of_module(config[field], module, field)


def calls(
  config: Any, field: str, module: types.ModuleType
) -> tuple[specs.Call, ...]:
  """The components that a field names, in order."""
  if isinstance(config[field], str):
    raise errors.ConfigError(
      f"config.{field} is a tuple of calls; write"
      f" ({errors.shown(config[field])},)"
    )
  return tuple(specs.of_module(text, module, field) for text in config[field])


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
      for path in input_files(one):
        digests[path] = _digest(path, field)
  if "framing" in outcome and outcome["framing"] == example.default_framing(
    outcome["pipeline"], outcome["central_fraction"], outcome["image_size"]
  ):
    outcome["framing"] = ""
  for field, before in ADDED_FIELDS.items():
    if field in outcome and outcome[field] == before:
      del outcome[field]
  if digests:
    outcome["input_files"] = digests
  return outcome, bookkeeping


def input_files(call: specs.Call) -> list[str]:
  """Returns the arguments of a call that are annotated as `specs.InputFile`."""
  parameters = specs.signature(call.function).parameters
  return [
    value
    for name, value in call.kwargs.items()
    if parameters[name].annotation == specs.InputFile
  ]


def _digest(path: str, field: str) -> str:
  try:
    return bits.digest(pathlib.Path(path).expanduser().read_bytes())
  except OSError as error:
    raise errors.ConfigError(
      f"config.{field}: cannot read {errors.shown(path)}: {error.strerror}; the"
      " path is as seen from the folder in which the command runs"
    ) from None
