"""Models by name: the module's name is the registry.

`rethink/models/<name>.py` holds one class `Model`, a Linen module whose
constructor takes `num_classes` and whose `__call__(images, *, train)` maps
float[batch, height, width, channels] to logits [batch, num_classes]. It may
keep parameters and batch statistics, and draw from the "dropout" stream.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from rethink import errors, specs


def names() -> list[str]:
  """The models that come with the package."""
  return sorted(module.name for module in pkgutil.iter_modules(__path__))


def parse(text: str) -> specs.Call:
  """Reads "mlp(widths=(512,))" or "my.module:MyModel(depth=3)".

  Raises:
    ConfigError: if there is no such model, naming those that exist.
  """
  name = text.partition("(")[0].strip()
  known: dict[str, Any] = dict.fromkeys(names())  # imported only when asked for
  if name in known:
    known[name] = importlib.import_module(f"rethink.models.{name}").Model
  return specs.parse(text, known, "model")


def build(
  call: specs.Call, num_classes: int, overrides: Mapping[str, Any]
) -> nn.Module:
  """Makes the module; `overrides` come from regularizers such as dropout.

  Raises:
    ConfigError: if the model does not take an override or num_classes.
  """
  taken = inspect.signature(call.function).parameters
  if "num_classes" not in taken:
    raise errors.ConfigError(
      f"config.model: the constructor of {call.name!r} must take num_classes"
    )
  for field in overrides:
    if field not in taken:
      raise errors.ConfigError(
        f"config.regularizers: model {call.name!r} does not take {field!r}"
      )
  kwargs = {**call.kwargs, **overrides}
  return call.function(num_classes=num_classes, **kwargs)


def initializer(name: str) -> nn.initializers.Initializer:
  """An initializer of `flax.linen.initializers` by name, "he_normal" say.

  Raises:
    ConfigError: if there is no such initializer, or it needs arguments.
  """
  try:
    made = getattr(nn.initializers, name)()
    made(jax.random.key(0), (2, 2))
  except (AttributeError, TypeError):
    raise errors.ConfigError(
      f"config.model: kernel_init={name!r} is no initializer; try 'he_normal',"
      " 'glorot_normal', 'lecun_normal' or 'truncated_normal'"
    ) from None
  return made
