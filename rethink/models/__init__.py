"""Models by name: the module's name is the registry.

`rethink/models/<name>.py` holds one class `Model`, a Linen module whose
constructor takes `num_classes` and whose `__call__(images, *, train)` maps
float[batch, height, width, channels] to logits [batch, num_classes]. It may
keep parameters ("params") and statistics ("batch_stats"), and in training draw
from any random stream: `self.make_rng("noise")`.

A model of the user's own may also be an NNX module. Its constructor takes
`num_classes`, `rngs` and, if it needs the input's size, `image_shape`, the
tuple (height, width, channels). Its mode is set by `Module.train()` and
`eval()`, and given as the argument `train` if `__call__` takes that.

In training a Linen module may have auxiliary heads,
`self.sow("auxiliary", "logits", x)`: their cross-entropy against the same
targets, times the model's `auxiliary_weight`, joins the training loss and no
metric.
"""

import importlib
import inspect
import math
import pkgutil
from collections.abc import Mapping
from typing import Annotated, Any

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

from rethink import errors, specs
from rethink.forward import nnx_modules

# Of all filters of a network; 0.02 leaves one where there are fewest.
Width = Annotated[float, specs.Range(0.02, 64.0)]
_DISTRIBUTIONS = ("normal", "uniform", "orthogonal", "variance_scaling")


def names() -> list[str]:
  """The models that come with the package."""
  return sorted(module.name for module in pkgutil.iter_modules(__path__))


def parse(text: str) -> specs.Call:
  """Reads "mlp(widths=(512,))" or "my.module:MyModel(depth=3)".

  Raises:
    ConfigError: if there is no such model, naming those that exist.
  """
  name = str(text).partition("(")[0].strip()
  known: dict[str, Any] = dict.fromkeys(names())  # imported only when asked for
  if name in known:
    known[name] = importlib.import_module(f"rethink.models.{name}").Model
  # `parent` and `name` are Linen's own fields of every module; `rngs` and
  # `image_shape` are for NNX modules.
  given = ("num_classes", "parent", "name", "rngs", "image_shape")
  return specs.parse(
    text,
    known,
    "model",
    given=given,
    by_name="num_classes is that of the data set",
  )


def build(
  call: specs.Call, num_classes: int, overrides: Mapping[str, Any]
) -> nn.Module:
  """Makes the module; `overrides` come from regularizers such as dropout.

  Raises:
    ConfigError: if it is no Flax module, does not take an override, num_classes
      or `train`, or is an NNX module that does not take `rngs`.
  """
  made = call.function
  _refuse_other_class(call)
  taken = specs.signature(made).parameters
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
  is_nnx = "rngs" in taken  # of a function that returns a module
  if inspect.isclass(made):
    is_nnx = issubclass(made, nnx.Module)
  if is_nnx:
    return nnx_modules.wrap(call.name, made, taken, num_classes, kwargs)
  model = call.function(num_classes=num_classes, **kwargs)
  if not isinstance(model, nn.Module):
    raise _no_module(call.name, f"a function that returns {type(model)}")
  if not any("__call__" in vars(kind) for kind in type(model).__mro__):
    raise errors.ConfigError(
      f"config.model: {call.name!r} has no __call__(self, images, *, train)"
    )
  parameters = inspect.signature(type(model).__call__).parameters.values()
  if not any(p.name == "train" or p.kind is p.VAR_KEYWORD for p in parameters):
    raise errors.ConfigError(
      f"config.model: __call__ of {call.name!r} must take train, which is True"
      " in training and False in evaluation: def __call__(self, images, *,"
      " train)"
    )
  return model


def _refuse_other_class(call: specs.Call) -> None:
  made = call.function
  if inspect.isclass(made) and not issubclass(made, (nn.Module, nnx.Module)):
    raise _no_module(call.name, "a class")


def _no_module(name: str, what: str) -> errors.ConfigError:
  return errors.ConfigError(
    f"config.model: {name!r} is {what}, but must be a Flax module: a subclass"
    " of flax.linen.Module or flax.nnx.Module"
  )


def auxiliary_weight(model: nn.Module) -> float:
  """Returns the weight of a model's auxiliary heads in the training loss.

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
  call = specs.parse(text, known, "model", own=False)
  try:
    made = call()
    made(jax.random.key(0), (2, 2))
  except (TypeError, ValueError) as error:
    raise errors.ConfigError(
      f"config.model: kernel_init={text!r} makes no initializer: {error}"
    ) from None
  return made


def norms(model: nn.Module, params: Any) -> dict[str, float]:
  """Returns the size of a network's parameters, for status.json.

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
