"""The pure training step, and how steps are grouped into programs."""

import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from rethink import (
  compiled,
  descent,
  errors,
  evaluate,
  forward,
  hooks,
  metric_sums,
  models,
)
from rethink.pipeline import preprocess, resident
from rethink.storage import manifests

# Of `TrainState` since the first version; runs of all versions can be resumed.
STATE_CHANGES = manifests.Changes(
  added=(),  # they begin as in a new run
  dropped=(
    *("sums/top5", "sums/true_correct", "sums/true_top5"),
    *("sums/clean_correct", "sums/clean_count"),
  ),
)


class TrainState(flax.struct.PyTreeNode):
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
  sums: metric_sums.BatchSums
  bad_step: jax.Array

  @property
  def evaluated(self) -> tuple[Any, Any]:
    """(params, batch_stats) of clean passes: the averages, if there are any."""
    return self.averages or (self.params, self.batch_stats)

  def with_evaluated_stats(self, batch_stats: Any) -> "TrainState":
    """Returns a state to evaluate, not to train: with other `batch_stats`."""
    if self.averages:
      return self.replace(averages=(self.averages[0], batch_stats))
    return self.replace(batch_stats=batch_stats)


@functools.cache
def compile_initializer(
  static: compiled.Static, channels: int, sharding: jax.sharding.NamedSharding
) -> Callable[[compiled.Traced, jax.Array], TrainState]:
  """The compiled `create_train_state`, its result placed by `sharding`."""
  size = static.image_size
  forward.refuse_empty(static.model, (size, size, channels))
  # Random numbers for each layer compile slowly on CPUs, and run only once: for
  # the small Inception 12 s become 2.
  on_cpu = jax.default_backend() == "cpu"
  options = {"xla_backend_optimization_level": 0} if on_cpu else None
  create = functools.partial(create_train_state, static, channels)
  return jax.jit(create, out_shardings=sharding, compiler_options=options)


def create_train_state(
  static: compiled.Static,
  channels: int,
  traced: compiled.Traced,
  key: jax.Array,
) -> TrainState:
  """Initializes parameters and optimizer.

  Raises:
    ConfigError: if the model returns anything but an array of as many logits
      as there are classes, or keeps variables that are neither parameters nor
      batch statistics.
  """
  size = static.image_size
  images = jnp.zeros((1, size, size, channels), jnp.float32)
  logits, variables = forward.init(static.model, key, images)
  if logits.shape != (1, static.num_classes):
    raise errors.ConfigError(
      f"config.model returns {logits.shape[1:]} logits per image; the data set"
      f" has {static.num_classes} classes"
    )
  params = variables.pop("params", {})
  batch_stats = variables.pop("batch_stats", {})
  variables.pop("auxiliary", None)  # made anew in training, without effect here
  if variables:
    raise errors.ConfigError(
      f"config.model keeps {sorted(variables)}; only the collections 'params'"
      " and 'batch_stats' are trained and saved: keep what training learns by"
      " gradients in 'params' (nnx.Param), statistics that it updates in"
      " 'batch_stats' (nnx.BatchStat), and compute the rest from the images"
    )
  rate = compiled.learning_rate(static, traced, jnp.int32(0))
  return TrainState(
    step=jnp.int32(0),
    params=params,
    batch_stats=batch_stats,
    opt_state=descent.init(static.optimizer, traced.optimizer, rate, params),
    averages=(params, batch_stats) if static.averaged else (),
    sums=metric_sums.no_batches(),
    bad_step=jnp.int32(-1),
  )


def train_step(
  static: compiled.Static,
  traced: compiled.Traced,
  state: TrainState,
  batch: resident.Resident,
) -> TrainState:
  """Takes one step of gradient descent on the mean loss of one batch.

  Raises:
    ConfigError: if the model has auxiliary heads and no weight for them, or
      the loss is not one number per example.
  """
  key = jax.random.fold_in(traced.key, state.step)
  augment_key, dropout_key = jax.random.split(key)
  active = [
    regularizer(floats)
    for regularizer, floats in zip(
      static.regularizers, traced.regularizers, strict=True
    )
  ]
  augments = [
    h.augment
    for h in active
    if h.augment and not (static.streamed and h.frame is not None)
  ]
  images = preprocess.training(
    augment_key, batch.image, augments, static.image_size, static.normalize
  )
  one_hot = jax.nn.one_hot(batch.label, static.num_classes)
  images, mixed = hooks.apply_batch(active, key, images, one_hot)
  images = images.astype(static.dtype)

  def loss_fn(params):
    variables = {
      "params": evaluate.cast(params, static.dtype),
      "batch_stats": state.batch_stats,
    }
    logits, updated, heads = forward.apply(
      static.model, variables, images, train=True, key=dropout_key
    )
    logits = jnp.asarray(logits, jnp.float32)
    targets = mixed
    for hook in active:
      targets = hook.targets(targets) if hook.targets else targets
    loss = compiled.mean_loss(static, traced, logits, targets)
    for head in heads:
      head = jnp.asarray(head, jnp.float32)
      more = compiled.mean_loss(static, traced, head, targets)
      loss = loss + models.auxiliary_weight(static.model) * more
    for hook in active:
      loss = loss + hook.penalty(params) if hook.penalty else loss
    return loss, (logits, updated.get("batch_stats", {}))

  gradients = hooks.wrap_gradients(
    active, key, state.step, jax.grad(loss_fn, has_aux=True)
  )
  grads, (logits, batch_stats) = gradients(state.params)
  rate = compiled.learning_rate(static, traced, state.step)
  params, opt_state = descent.step(
    static.optimizer,
    traced.optimizer,
    rate,
    grads,
    state.opt_state,
    state.params,
  )
  for hook in active:
    if hook.update:
      params = hook.update(params, state.params, rate)
  averages = state.averages
  if static.averaged:
    averages = descent.average(
      averages, (params, batch_stats), traced.ema_decay, state.step
    )

  new = metric_sums.of_batch(logits, batch.label, batch.true_label)
  first = state.step % traced.length.steps_per_epoch == 0
  kept = jax.tree.map(lambda x: jnp.where(first, 0, x), state.sums)
  bad = (state.bad_step < 0) & ~jnp.isfinite(new.loss)
  return TrainState(
    step=state.step + 1,
    params=params,
    batch_stats=batch_stats,
    opt_state=opt_state,
    averages=averages,
    sums=metric_sums.add(kept, new),
    bad_step=jnp.where(bad, state.step, state.bad_step),
  )


Advance = Callable[
  [TrainState, resident.Resident, jax.Array, compiled.Traced, int, int],
  TrainState,
]


@functools.cache
def compile_train_steps(static: compiled.Static, channels: int) -> Advance:
  """The compiled steps [start, stop) of an epoch.

  Returns `advance(state, data, order, traced, start, stop)`, which consumes
  `state`. The last, shorter batch of an epoch is neither dropped nor padded.
  """

  def step(state, data, order, traced, start, batch_size):
    index = jax.lax.dynamic_slice(order, (start,), (batch_size,))
    batch = resident.gather(data, index, static.sharding)
    return train_step(static, traced, state, batch)

  def full(i, state, data, order, traced):
    start = i * static.batch_size
    return step(state, data, order, traced, start, static.batch_size)

  def train_tail(state, data, order, traced):
    rest = len(order) % static.batch_size
    return step(state, data, order, traced, len(order) - rest, rest)

  @functools.partial(jax.jit, donate_argnums=0)
  def train_many(state, data, order, traced, start, stop):
    whole, rest = divmod(len(order), static.batch_size)
    if whole:
      end = jnp.minimum(stop, whole)
      state = jax.lax.fori_loop(
        start, end, lambda i, s: full(i, s, data, order, traced), state
      )
    if rest:
      state = jax.lax.cond(
        stop > whole,
        lambda s: train_tail(s, data, order, traced),
        lambda s: s,
        state,
      )
    return state

  if not drives_from_host(static, channels):
    return train_many

  @functools.partial(jax.jit, donate_argnums=0)
  def train_one(state, data, order, traced, i):
    return full(i, state, data, order, traced)

  train_last = jax.jit(train_tail, donate_argnums=0)

  def advance(state, data, order, traced, start, stop):
    whole = len(order) // static.batch_size
    for i in range(start, min(stop, whole)):
      state = train_one(state, data, order, traced, i)
    return train_last(state, data, order, traced) if stop > whole else state

  return advance


@functools.cache
def compile_train_step(
  static: compiled.Static,
) -> Callable[[TrainState, resident.Resident, compiled.Traced], TrainState]:
  """The compiled step on a batch that is on the devices; consumes `state`."""

  def step(state, batch, traced):
    return train_step(static, traced, state, batch)

  return jax.jit(step, donate_argnums=0)


def drives_from_host(static: compiled.Static, channels: int) -> bool:
  """Returns True if steps are called one by one, not looped on the device.

  On the CPU backend only, and only for models with convolutions: XLA's CPU
  gradients of convolutions inside a loop were measured 22 to 39 times slower
  than outside.
  """
  if jax.default_backend() != "cpu":
    return False
  shape = (static.image_size, static.image_size, channels)
  return "conv_general_dilated" in forward.primitives(static.model, shape)
