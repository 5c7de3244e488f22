"""Flax NNX modules as Linen modules, by Flax's own bridge."""

import inspect
from collections.abc import Callable, Collection
from typing import Any

import flax.linen as nn
import jax
from flax import core, nnx
from flax.nnx import bridge

from rethink import errors


class FromNNX(nn.Module):
  """An NNX module that is initialized and applied like a Linen module.

  `nnx.Param` is the collection "params", `nnx.BatchStat` is "batch_stats". The
  bridge constructs the module anew at every call and leaves the state of its
  random streams out, so that random numbers depend on the keys of the call
  alone, never on how often the module has been called.

  Attributes:
    constructor: the module's class, or a function that returns the module.
    takes_shape: whether the constructor takes `image_shape`.
    num_classes: width of the output.
    arguments: of the constructor, besides those that it is always given.
  """

  constructor: Callable[..., nnx.Module]
  takes_shape: bool
  num_classes: int
  arguments: core.FrozenDict[str, Any]

  @nn.compact
  def __call__(
    self,
    images: jax.Array,
    *,
    train: bool,
    batch_norms: set[str] | None = None,
  ) -> jax.Array:
    kwargs = self.arguments.copy(self._sizes(images.shape[1:]))
    # Without boxes: variables are plain arrays, as those of Linen modules are.
    module = bridge.ToLinen(self.constructor, kwargs=kwargs, metadata_fn=None)
    nn.share_scope(self, module)  # no level of its own in the parameters
    return module(
      images, train=train, batch_norms=batch_norms, nnx_method=_forward
    )

  def fixed_streams(self, image_shape: tuple[int, ...]) -> list[str]:
    """Returns the paths of random keys that do not depend on `rngs`."""

    @jax.jit
    def keys(key: jax.Array) -> dict[str, jax.Array]:
      module = self.constructor(
        **self.arguments, **self._sizes(image_shape), rngs=nnx.Rngs(key)
      )
      state = nnx.to_flat_state(nnx.state(module, nnx.RngKey))
      return {
        "/".join(map(str, path)): jax.random.key_data(variable[...])
        for path, variable in state
      }

    one, other = keys(jax.random.key(0)), keys(jax.random.key(1))
    return [path for path, key in one.items() if (key == other[path]).all()]

  def _sizes(self, image_shape: tuple[int, ...]) -> dict[str, Any]:
    sizes: dict[str, Any] = {"num_classes": self.num_classes}
    if self.takes_shape:
      sizes["image_shape"] = tuple(image_shape)
    return sizes


def wrap(
  name: str,
  constructor: Callable[..., nnx.Module],
  takes: Collection[str],
  num_classes: int,
  arguments: dict[str, Any],
) -> FromNNX:
  """Returns the Linen module of an NNX module.

  Args:
    name: as written in config.model.
    constructor: the module's class, or a function that returns the module.
    takes: names of the constructor's parameters.
    num_classes: width of the output.
    arguments: of the constructor, besides `num_classes`, `rngs` and, if it asks
      for it, `image_shape`.

  Raises:
    ConfigError: if the constructor does not take `rngs`, or `__call__` needs
      other arguments than the images and `train`.
  """
  if "rngs" not in takes:
    raise errors.ConfigError(
      f"config.model: the constructor of the NNX module {name!r} must take rngs"
      " and draw its parameters from it; config.seed decides what they are"
    )
  if inspect.isclass(constructor):
    call = getattr(constructor, "__call__", None)  # noqa: B004
    if call is None:
      raise errors.ConfigError(
        f"config.model: {name!r} has no __call__(self, images)"
      )
    _, _, *others = inspect.signature(call).parameters.values()
    needed = [
      p.name
      for p in others
      if p.default is p.empty
      and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
      and p.name != "train"
    ]
    if needed:
      raise errors.ConfigError(
        f"config.model: __call__ of {name!r} needs {', '.join(needed)}; it is"
        " called with the images, and with train=True or False if it asks for"
        " that"
      )
  shape = "image_shape" in takes
  return FromNNX(constructor, shape, num_classes, core.FrozenDict(arguments))


def _forward(
  module: nnx.Module,
  images: jax.Array,
  train: bool,
  batch_norms: set[str] | None,
) -> jax.Array:
  """Applies an NNX module in training or evaluation mode.

  Both ways to say the mode are served: `Module.train()` and `eval()`, which set
  `deterministic` and `use_running_average` of all layers, and an argument
  `train` of `__call__`, which may overrule them.
  """
  if train:
    module.train()
  else:
    module.eval()
  if batch_norms is not None:
    for path, layer in nnx.iter_modules(module):
      if isinstance(layer, nnx.BatchNorm):
        layer.momentum = 0.0  # of this call's module alone
        batch_norms.add("/".join(map(str, path)))
  takes = inspect.signature(module).parameters
  mode = {"train": train} if "train" in takes else {}
  return module(images, **mode)  # pyright: ignore[reportCallIssue]
