"""Every public function is a learner of sign vectors, for `rademacher`.

All of them see the same points, images as a network sees them, and fit each
sign vector by itself. What they return are values of functions of one class:
classifiers into {-1, 1}, interpolants, or a ball of a function space.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rethink import (
  compiled,
  errors,
  evaluate,
  metrics,
  schedules,
  settings,
  specs,
  train_step,
)
from rethink.expressivity import construct
from rethink.kernels import gram, least_squares, solver
from rethink.methods import batch_stats, eval_splits, footprint, initial
from rethink.pipeline import order, resident

# What every public function gets first, by position.
LEADING = ("context",)


class Context(NamedTuple):
  """Sign vectors to learn, and the points that they belong to.

  Attributes:
    run_settings: model, optimizer and seed of `network`; others need none.
    images: uint8[n, height, width, channels].
    points: float32[n, d], the same images cropped, standardized, flattened.
    signs: float64[draws, n] of -1 and 1.
    between: called now and then; may raise to stop.
  """

  run_settings: settings.Settings
  images: np.ndarray
  points: np.ndarray
  signs: np.ndarray
  between: Callable[[], None]


class Fitted(NamedTuple):
  """The functions that a learner fitted to the sign vectors.

  Attributes:
    values: float64[draws, n], of the fitted functions at the points.
    parameters: numbers of one fitted function.
    facts: name to a mean over sign vectors, for the run's row.
  """

  values: np.ndarray
  parameters: int
  facts: dict[str, float]


def network(context: Context) -> Fitted:
  """`config.model` as a classifier, trained on the signs like on any labels.

  Each sign vector has an initialization and an order of its own. Training ends
  as the config says; a hit is 1 for the sign, a miss its opposite.

  Raises:
    DivergedError: if a loss is not finite.
  """
  config = context.run_settings.config
  replicated, sharded = resident.shardings()
  static = compiled.static_arguments(context.run_settings, 2, sharded)
  channels = context.images.shape[-1]
  images = jax.device_put(context.images, replicated)
  steps = order.steps_per_epoch(
    len(images), config.batch_size, config.drop_last
  )
  num_steps = footprint.steps(config.num_epochs, steps)
  length = schedules.Length(jnp.int32(steps), jnp.int32(num_steps))
  check = evaluate.Static(
    static.model,
    2,
    config.image_size,
    static.dtype,
    config.normalize,
    each=(("loss", metrics.loss), ("correct", metrics.accuracy)),
  )
  advance = train_step.compile_train_steps(static, channels)

  def fit(draw: int) -> tuple[np.ndarray, int, float, int]:
    """(hits, epochs, clean loss in nats, parameters) for a sign vector."""
    labels = jax.device_put(np.int32(context.signs[draw] > 0), replicated)
    data = resident.Resident(images, labels, labels)
    root = compiled.keys(config.seed)
    keys = compiled.Keys(*(jax.random.fold_in(key, draw) for key in root))
    traced = compiled.traced_arguments(context.run_settings, length, keys.noise)
    state = initial.state(
      context.run_settings,
      static,
      traced,
      keys.init,
      replicated,
      channels,
      len(images),
    )
    parameters = sum(x.size for x in jax.tree.leaves(state.params))
    for epoch in range(config.num_epochs):
      context.between()
      rows = resident.epoch_order(keys.order, jnp.int32(epoch), len(images))
      state = advance(state, data, rows, traced, 0, steps)
      last = epoch + 1 == config.num_epochs
      if not last and (epoch + 1) % config.eval_every_epochs:
        continue
      if state.bad_step >= 0:
        raise errors.DivergedError(
          f"the loss is not finite at step {state.bad_step} of sign vector"
          f" {draw}; lower config.learning_rate"
        )
      evaluated = state
      if config.reestimate_batch_stats:
        wanted = config.reestimate_batch_stats
        batches = batch_stats.first_batches(
          data,
          *batch_stats.whole_batches(wanted, len(images), config.batch_size),
          sharded,
        )
        evaluated = batch_stats.reestimate(
          static, traced.key, state, batches, context.between
        )
      found = evaluate.evaluate(
        eval_splits.ResidentSplit(check, data, config.eval_batch_size, sharded),
        *evaluated.evaluated,
        chunk_seconds=config.bookkeeping.chunk_seconds,
        between=context.between,
      ).each
      loss = float(found["loss"].mean())
      if last or loss <= config.stop_at_train_loss > 0:
        return found["correct"], epoch + 1, loss, parameters
    raise AssertionError("not reached")

  hits, epochs, losses, parameters = zip(
    *map(fit, range(len(context.signs))), strict=True
  )
  return Fitted(
    np.where(np.stack(hits), context.signs, -context.signs),
    parameters[0],
    {"epochs": float(np.mean(epochs)), "loss": float(np.mean(losses))},
  )


def linear(context: Context) -> Fitted:
  """A linear classifier with a constant: the sign of least squares.

  Of the signs that a linear classifier can realize these are some; up to about
  2 d points in general position it can realize all (Cover 1965).
  """
  constant = np.ones((len(context.points), 1), np.float32)
  features = np.concatenate([context.points, constant], axis=1)
  weights = least_squares.solve(features, context.signs.T).weights
  return Fitted(np.sign(features @ weights).T, len(weights), {})


def kernel(context: Context, kernel: str = "gaussian(bandwidth=0.0)") -> Fitted:
  """The function of least norm that interpolates the signs (section 5).

  Args:
    context: what is to be learned.
    kernel: of `kernels.functions`.
  """
  matrix = _matrix(context, kernel)
  solution = solver.solve(matrix, context.signs.T)
  return Fitted(
    solution.fitted.T,
    len(context.points),
    {"norm": float(solution.norms.mean())},
  )


def ball(
  context: Context,
  kernel: str = "gaussian(bandwidth=0.0)",
  norm: specs.NotNegative = 1.0,
) -> Fitted:
  """The best function h of the kernel's space with a norm of at most `norm`.

  The one learner here whose supremum is known: of (1/n) sum_i s_i h(x_i) it is
  norm sqrt(s' K s) / n, attained by h = norm K s / sqrt(s' K s). Where
  norm^2 k(x, x) <= 1, h is within [-1, 1] and the complexity is measured
  itself, not a lower bound on it.

  Args:
    context: what is to be learned.
    kernel: of `kernels.functions`.
    norm: in the reproducing-kernel Hilbert space.
  """
  products = _matrix(context, kernel).product(context.signs.T).T
  squares = np.sum(context.signs * products, axis=1, keepdims=True)
  values = norm * products / np.sqrt(squares)
  return Fitted(values, len(context.points), {"norm": norm})


def construction(
  context: Context, depth: Annotated[int, specs.Range(0, 10**4)] = 0
) -> Fitted:
  """The network of Theorem 1, or of Corollary 1 with `depth` hidden layers.

  Args:
    context: what is to be learned.
    depth: hidden layers; 0 is Theorem 1.
  """
  values, parameters = [], 0
  for signs in context.signs:
    context.between()
    seed = context.run_settings.config.seed
    built = construct.fit(context.points, signs, depth or None, seed=seed)
    values.append(built(context.points))
    parameters = built.num_weights
  return Fitted(np.stack(values), parameters, {})


def _matrix(context: Context, kernel: str) -> gram.PointGram:
  return gram.PointGram(gram.parse(kernel), context.points, cache=True)
