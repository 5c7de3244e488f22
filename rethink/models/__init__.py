"""Models by name: the module's name is the registry.

`rethink/models/<name>.py` holds one class `Model`, a Linen module whose
constructor takes `num_classes` and whose `__call__(images, *, train)` maps
float[batch, height, width, channels] to logits [batch, num_classes]. It may
keep parameters and batch statistics, and draw from the "dropout" stream.

In training it may have auxiliary heads, `self.sow("auxiliary", "logits", x)`:
their cross-entropy against the same targets, times the model's
`auxiliary_weight`, joins the training loss and no metric.
"""

import importlib
import inspect
import math
import pkgutil
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from rethink import errors, specs

_DISTRIBUTIONS = ("normal", "uniform", "orthogonal", "variance_scaling")


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
  # `parent` and `name` are Linen's own fields of every module.
  given = ("num_classes", "parent", "name")
  return specs.parse(text, known, "model", given=given)


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


def auxiliary_weight(model: nn.Module) -> float:
  """Of the cross-entropy of a model's auxiliary heads in the training loss.

  Raises:
    ConfigError: if the model does not say it.
  """
  weight = getattr(model, "auxiliary_weight", None)
  if weight is None:
    raise errors.ConfigError(
      "config.model has auxiliary heads (it sows 'auxiliary'), but no attribute"
      " auxiliary_weight that says what they weigh in the loss"
    )
  return weight


def initializer(text: str) -> nn.initializers.Initializer:
  """Reads "he_normal" or "truncated_normal(stddev=0.04)", of Flax.

  Args:
    text: a call of a function of `flax.linen.initializers` that makes an
      initializer of kernels.

  Raises:
    ConfigError: if there is no such initializer, or it does not take that.
  """
  found = vars(nn.initializers)
  known = {name: found[name] for name in found if name.endswith(_DISTRIBUTIONS)}
  call = specs.parse(text, known, "model")
  try:
    made = call()
    made(jax.random.key(0), (2, 2))
  except (TypeError, ValueError) as error:
    raise errors.ConfigError(
      f"config.model: kernel_init={text!r} makes no initializer: {error}"
    ) from None
  return made


def norms(model: nn.Module, params: Any) -> dict[str, float]:
  """What status.json says of the size of a network at the end.

  Args:
    model: its method `lipschitz_bound(params)`, if it has one, returns an upper
      bound on the Lipschitz constant from standardized images to logits, for
      Euclidean norms.
    params: of the model.

  Returns:
    `weight_norm`, the Euclidean norm of all parameters together; and
    `lipschitz_bound`, if the model knows one.
  """
  params = jax.device_get(params)
  squares = (
    np.sum(np.square(leaf, dtype=np.float64))
    for leaf in jax.tree.leaves(params)
  )
  found = {"weight_norm": math.sqrt(sum(squares))}
  bound = getattr(model, "lipschitz_bound", None)
  if bound is not None:
    found["lipschitz_bound"] = float(bound(params))
  return found
