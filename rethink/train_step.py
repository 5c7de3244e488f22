"""The pure training step, and how steps are grouped into programs."""

import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from rethink import compiled, errors, evaluate, metrics, models
from rethink.pipeline import preprocess, resident


class State(flax.struct.PyTreeNode):
  """All that a run carries from step to step; replicated over devices.

  Attributes:
    step: int32, optimizer steps done.
    params: float32 parameters.
    batch_stats: running statistics of batch norm; {} without.
    opt_state: of the optimizer.
    averages: of (params, batch_stats), exponential over steps; () without.
    sums: over the training batches of the epoch so far, in training mode.
    bad_step: int32, the first step whose loss was not finite, or -1.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  averages: Any
  sums: metrics.Sums
  bad_step: jax.Array

  @property
  def evaluated(self) -> tuple[Any, Any]:
    """(params, batch_stats) of clean passes: the averages, if there are any."""
    return self.averages or (self.params, self.batch_stats)


@functools.cache
def initializer(
  recipe: compiled.Recipe, channels: int, sharding: jax.sharding.NamedSharding
) -> Callable[[compiled.Numbers, jax.Array], State]:
  """The compiled `create_state`, its result placed by `sharding`."""
  # Random numbers for each layer compile slowly on CPUs, and run only once: for
  # the small Inception 12 s become 2.
  on_cpu = jax.default_backend() == "cpu"
  options = {"xla_backend_optimization_level": 0} if on_cpu else None
  create = functools.partial(create_state, recipe, channels)
  return jax.jit(create, out_shardings=sharding, compiler_options=options)


def create_state(
  recipe: compiled.Recipe,
  channels: int,
  inputs: compiled.Numbers,
  key: jax.Array,
) -> State:
  """Initializes parameters and optimizer.

  Raises:
    ConfigError: if the model returns another number of logits than there are
      classes, or keeps variables that are neither parameters nor batch
      statistics.
  """
  size = recipe.image_size
  images = jnp.zeros((1, size, size, channels), jnp.float32)
  logits, variables = recipe.model.init_with_output(key, images, train=False)
  if logits.shape != (1, recipe.num_classes):
    raise errors.ConfigError(
      f"config.model returns {logits.shape[1:]} logits per image; the data set"
      f" has {recipe.num_classes} classes"
    )
  variables = dict(variables)
  params = variables.pop("params", {})
  batch_stats = variables.pop("batch_stats", {})
  if variables:
    raise errors.ConfigError(
      f"config.model keeps {sorted(variables)}; only the collections 'params'"
      " and 'batch_stats' are trained and saved"
    )
  return State(
    step=jnp.int32(0),
    params=params,
    batch_stats=batch_stats,
    opt_state=recipe.optimizer(inputs.optimizer).init(params),
    averages=(params, batch_stats) if recipe.averaged else (),
    sums=metrics.zeros(),
    bad_step=jnp.int32(-1),
  )


def train_step(
  recipe: compiled.Recipe,
  inputs: compiled.Numbers,
  state: State,
  batch: resident.Resident,
) -> State:
  """One step of gradient descent on the mean loss of one batch.

  Raises:
    ConfigError: if the model has auxiliary heads and no weight for them.
  """
  key = jax.random.fold_in(inputs.key, state.step)
  augment_key, dropout_key = jax.random.split(key)
  hooks = [
    static(floats)
    for static, floats in zip(
      recipe.regularizers, inputs.regularizers, strict=True
    )
  ]
  augments = [
    h.augment
    for h in hooks
    if h.augment and not (recipe.streamed and h.frame is not None)
  ]
  images = preprocess.training(
    augment_key, batch.image, augments, recipe.image_size, recipe.normalize
  ).astype(recipe.dtype)

  def loss_fn(params):
    variables = {
      "params": evaluate.cast(params, recipe.dtype),
      "batch_stats": state.batch_stats,
    }
    logits, updated = recipe.model.apply(
      variables,
      images,
      train=True,
      rngs={"dropout": dropout_key},
      mutable=["batch_stats", "auxiliary"],
    )
    logits = jnp.asarray(logits, jnp.float32)
    targets = jax.nn.one_hot(batch.label, logits.shape[-1])
    for hook in hooks:
      targets = hook.targets(targets) if hook.targets else targets
    loss = optax.softmax_cross_entropy(logits, targets).mean()
    for head in jax.tree.leaves(updated.get("auxiliary", {})):
      head = jnp.asarray(head, jnp.float32)
      more = optax.softmax_cross_entropy(head, targets).mean()
      loss = loss + models.auxiliary_weight(recipe.model) * more
    for hook in hooks:
      loss = loss + hook.penalty(params) if hook.penalty else loss
    return loss, (logits, updated.get("batch_stats", {}))

  grads, (logits, batch_stats) = jax.grad(loss_fn, has_aux=True)(state.params)
  rate = compiled.learning_rate(recipe, inputs, state.step)
  direction, opt_state = recipe.optimizer(inputs.optimizer).update(
    grads, state.opt_state, state.params
  )
  params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)
  for hook in hooks:
    if hook.update:
      params = hook.update(params, state.params, rate)
  averages = state.averages
  if recipe.averaged:
    averages = _average(
      averages, (params, batch_stats), inputs.ema_decay, state.step
    )

  new = metrics.sums(logits, batch.label, batch.true_label)
  first = state.step % inputs.length.steps_per_epoch == 0
  kept = jax.tree.map(lambda x: jnp.where(first, 0, x), state.sums)
  bad = (state.bad_step < 0) & ~jnp.isfinite(new.loss)
  return State(
    step=state.step + 1,
    params=params,
    batch_stats=batch_stats,
    opt_state=opt_state,
    averages=averages,
    sums=kept + new,
    bad_step=jnp.where(bad, state.step, state.bad_step),
  )


def _average(old: Any, new: Any, decay: jax.Array, step: jax.Array) -> Any:
  """The next exponential average, with TensorFlow's short start.

  TensorFlow, too, averages the running statistics of batch norm once more.
  """
  decay = jnp.minimum(decay, (1 + step) / (10 + step))
  return optax.incremental_update(new, old, 1 - decay)


Advance = Callable[
  [State, resident.Resident, jax.Array, compiled.Numbers, int, int], State
]


@functools.cache
def program(recipe: compiled.Recipe, channels: int) -> Advance:
  """The compiled steps [start, stop) of an epoch.

  Returns `advance(state, data, order, inputs, start, stop)`, which consumes
  `state`. The last, shorter batch of an epoch is neither dropped nor padded.
  """

  def step(state, data, order, inputs, start, batch_size):
    index = jax.lax.dynamic_slice(order, (start,), (batch_size,))
    batch = resident.gather(data, index, recipe.sharding)
    return train_step(recipe, inputs, state, batch)

  def full(i, state, data, order, inputs):
    start = i * recipe.batch_size
    return step(state, data, order, inputs, start, recipe.batch_size)

  def train_tail(state, data, order, inputs):
    rest = len(order) % recipe.batch_size
    return step(state, data, order, inputs, len(order) - rest, rest)

  @functools.partial(jax.jit, donate_argnums=0)
  def train_many(state, data, order, inputs, start, stop):
    whole, rest = divmod(len(order), recipe.batch_size)
    if whole:
      end = jnp.minimum(stop, whole)
      state = jax.lax.fori_loop(
        start, end, lambda i, s: full(i, s, data, order, inputs), state
      )
    if rest:
      state = jax.lax.cond(
        stop > whole,
        lambda s: train_tail(s, data, order, inputs),
        lambda s: s,
        state,
      )
    return state

  if not drives_from_host(recipe, channels):
    return train_many

  @functools.partial(jax.jit, donate_argnums=0)
  def train_one(state, data, order, inputs, i):
    return full(i, state, data, order, inputs)

  train_last = jax.jit(train_tail, donate_argnums=0)

  def advance(state, data, order, inputs, start, stop):
    whole = len(order) // recipe.batch_size
    for i in range(start, min(stop, whole)):
      state = train_one(state, data, order, inputs, i)
    return train_last(state, data, order, inputs) if stop > whole else state

  return advance


@functools.cache
def batch_program(
  recipe: compiled.Recipe,
) -> Callable[[State, resident.Resident, compiled.Numbers], State]:
  """The compiled step on a batch that is on the devices; consumes `state`."""

  def step(state, batch, inputs):
    return train_step(recipe, inputs, state, batch)

  return jax.jit(step, donate_argnums=0)


def drives_from_host(recipe: compiled.Recipe, channels: int) -> bool:
  """Whether steps are called one by one instead of looped on the device.

  On the CPU backend only, and only for models with convolutions: XLA's CPU
  gradients of convolutions inside a loop were measured 22 to 39 times slower
  than outside.
  """
  if jax.default_backend() != "cpu":
    return False
  size = recipe.image_size
  images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)

  def forward(images):
    return recipe.model.init_with_output(jax.random.key(0), images, train=False)

  return "conv_general_dilated" in str(jax.make_jaxpr(forward)(images))
