"""The static and the traced arguments of a run's compiled programs.

Runs with equal static arguments share their programs; numbers, seeds and data
are traced.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rethink import errors, hooks, models, schedules, settings, specs


class Static(NamedTuple):
  """The arguments that a program is compiled for; hashable.

  Attributes:
    model: the network.
    num_classes: width of its output.
    schedule: without its numbers, as are the next two.
    optimizer: gradients to direction or update.
    loss: of logits against targets.
    regularizers: the active hooks, in order.
    averaged: whether averages of the parameters are kept.
    batch_size: examples per step, over all devices.
    image_size: pixels that the model sees.
    normalize: their last step, of `views.NORMALIZE`.
    streamed: whether images come framed; regularizers that frame them have
      acted then.
    dtype: of activations and products; parameters stay float32.
    sharding: how a batch lies on the devices.
  """

  model: nn.Module
  num_classes: int
  schedule: specs.StaticCall
  optimizer: specs.StaticCall
  loss: specs.StaticCall
  regularizers: tuple[specs.StaticCall, ...]
  averaged: bool
  batch_size: int
  image_size: int
  normalize: str
  streamed: bool
  dtype: jnp.dtype
  sharding: jax.sharding.NamedSharding


class Traced(NamedTuple):
  """The arguments that may change without compiling again.

  Attributes:
    learning_rate: float32, before the schedule.
    schedule: float arguments of the schedule.
    optimizer: float arguments of the optimizer.
    loss: float arguments of the loss.
    regularizers: float arguments of each regularizer.
    ema_decay: float32, of the averages of the parameters.
    length: steps per epoch and in all.
    key: of augmentation and dropout.
  """

  learning_rate: jax.Array
  schedule: dict[str, Any]
  optimizer: dict[str, Any]
  loss: dict[str, Any]
  regularizers: tuple[dict[str, Any], ...]
  ema_decay: jax.Array
  length: schedules.Length
  key: jax.Array


class Keys(NamedTuple):
  """The keys that `config.seed` gives.

  Attributes:
    init: parameters.
    order: of the examples, folded with the epoch.
    noise: augmentation and dropout, folded with the step.
  """

  init: jax.Array
  order: jax.Array
  noise: jax.Array


def keys(seed: int) -> Keys:
  """Returns the keys of a run."""
  # Named, so that no setting of the process changes what is drawn.
  root = jax.random.key(seed, impl="threefry2x32")
  return Keys(*jax.random.split(root, 3))


def static_arguments(
  run: settings.Settings,
  num_classes: int,
  sharding: jax.sharding.NamedSharding,
) -> Static:
  """Returns the static arguments of a run's programs.

  Raises:
    ConfigError: if the model does not take what a regularizer sets.
  """
  overrides: dict[str, Any] = {}
  for regularizer in run.regularizers:
    made = regularizer()
    if not isinstance(made, hooks.Regularizer):
      raise errors.ConfigError(
        f"config.regularizers: {regularizer} returns {type(made).__name__}; it"
        " must return a rethink.hooks.Regularizer"
      )
    overrides.update(made.model)
  return Static(
    model=models.build(run.model, num_classes, overrides),
    num_classes=num_classes,
    schedule=run.schedule.static,
    optimizer=run.optimizer.static,
    loss=run.loss.static,
    regularizers=tuple(r.static for r in run.regularizers),
    averaged=run.config.ema_decay > 0,
    batch_size=run.config.batch_size,
    image_size=run.config.image_size,
    normalize=run.config.normalize,
    streamed=run.config.pipeline == "stream",
    dtype=jnp.dtype(run.config.dtype),
    sharding=sharding,
  )


def traced_arguments(
  run: settings.Settings, length: schedules.Length, key
) -> Traced:
  """Returns the traced arguments of a run's programs."""
  return Traced(
    learning_rate=jnp.float32(run.config.learning_rate),
    schedule=run.schedule.numbers,
    optimizer=run.optimizer.numbers,
    loss=run.loss.numbers,
    regularizers=tuple(r.numbers for r in run.regularizers),
    ema_decay=jnp.float32(run.config.ema_decay),
    length=length,
    key=key,
  )


def learning_rate(static: Static, traced: Traced, step) -> jax.Array:
  """The learning rate of a step.

  Raises:
    ConfigError: if the schedule is not one number.
  """
  factor = static.schedule(traced.schedule, step, traced.length)
  if jnp.shape(factor) != ():
    raise errors.ConfigError(
      f"config.schedule returns shape {jnp.shape(factor)}; it must return one"
      " number, the factor on the learning rate of a step"
    )
  return traced.learning_rate * factor


def refuse_longer(run: settings.Settings) -> str:
  """Returns why more epochs would change those already trained, or "".

  They would if the schedule's factor depends on how long the run is.
  """

  def factor(step, steps_per_epoch, num_steps):
    return run.schedule(step, schedules.Length(steps_per_epoch, num_steps))

  traced = jax.make_jaxpr(factor)(*[jnp.int32(1)] * 3).jaxpr
  used = [*traced.outvars, *(x for e in traced.eqns for x in e.invars)]
  if any(value is traced.invars[2] for value in used):
    return (
      f"{run.schedule} makes the learning rate of each step depend on the"
      " number of all steps, so the epochs so far were trained at other rates"
    )
  return ""


def mean_loss(
  static: Static, traced: Traced, logits: jax.Array, targets: jax.Array
) -> jax.Array:
  """Returns the mean of `config.loss` over a batch.

  Raises:
    ConfigError: if the loss is not one number per example.
  """
  losses = static.loss(traced.loss, logits, targets)
  if jnp.shape(losses) != logits.shape[:1]:
    raise errors.ConfigError(
      f"config.loss returns shape {jnp.shape(losses)} for logits and targets of"
      f" shape {logits.shape}; it must return one number per example,"
      f" {logits.shape[:1]}"
    )
  return losses.mean()


class CompilationCounter:
  """Counts the training programs that are compiled inside a `with` block.

  Attributes:
    training: programs of training steps.
    tails: those of a last, shorter batch, where it has its own: on the CPU
      backend, for networks with convolutions.
    seconds: of all compilations, those of small helpers included.
  """

  def __init__(self):
    self.training, self.tails, self.seconds = 0, 0, 0.0

  def __enter__(self):
    jax.monitoring.register_event_duration_secs_listener(self._hear)
    return self

  def __exit__(self, *_):
    jax.monitoring.unregister_event_duration_listener(self._hear)

  def _hear(self, event: str, duration_secs: float, **kwargs) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
      self.seconds += duration_secs
      name = str(kwargs["fun_name"])
      self.training += name in ("jit(train_many)", "jit(train_one)")
      self.tails += name == "jit(train_tail)"

  def __str__(self) -> str:
    tails = f" and {self.tails} of shorter last batches" if self.tails else ""
    return (
      f"{self.training} training programs{tails} compiled, {self.seconds:.1f} s"
      " of compilation in all"
    )
