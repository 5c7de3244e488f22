"""Each learner beside what is known of its class."""

import jax.numpy as jnp
import numpy as np
import pytest

from rethink import errors, settings, specs, train_step
from rethink.expressivity import rademacher
from rethink.methods import learners
from rethink.pipeline import preprocess
from tests.conftest import random_examples

N, D, DRAWS = 60, 4 * 4 * 3, 5


@pytest.fixture
def context(config):
  config.image_size = 4
  config.num_epochs = 100
  config.learning_rate = 0.1
  config.stop_at_train_loss = 0.05
  return _context(config, N)


def _context(config, n, between=lambda: None):
  examples = random_examples(n, (4, 4, 3))
  return learners.Context(
    settings.resolve(config),
    examples.image,
    preprocess.on_host(examples.image, 4, 32).reshape(n, -1),
    rademacher.signs(examples.id, DRAWS, seed=0),
    between,
  )


def _gaussian(points, bandwidth):
  x = np.asarray(points, np.float64)
  squares = np.sum((x[:, None] - x[None]) ** 2, axis=2)
  return np.exp(-squares / (2 * bandwidth**2))


def _attained(context, fitted):
  return rademacher.estimate(context.signs, fitted.values).correlations


def test_points_are_what_a_network_sees(context):
  want = preprocess.evaluation(jnp.asarray(context.images), 4)
  np.testing.assert_allclose(context.points, want.reshape(N, -1), atol=1e-5)


@pytest.mark.parametrize("name", specs.public(learners))
def test_every_learner_has_a_value_for_every_sign(name, config):
  config.image_size, config.num_epochs = 4, 1
  context = _context(config, N)
  fitted = specs.of_module(name, learners, "learner")(context)
  assert fitted.values.shape == context.signs.shape
  assert np.isfinite(fitted.values).all() and fitted.parameters > 0


def test_a_trained_network_fits_every_sign_vector(context):
  fitted = learners.network(context)
  assert fitted.parameters == (D + 1) * 32 + 33 * 2
  assert set(np.unique(fitted.values)) == {-1.0, 1.0}
  assert (_attained(context, fitted) > 0.9).all()
  assert 0 < fitted.facts["loss"] <= 0.05
  assert 1 <= fitted.facts["epochs"] < 100


def test_a_network_that_is_hardly_trained_attains_less(context, config):
  config.num_epochs, config.learning_rate = 1, 1e-6
  fitted = learners.network(_context(config, N))
  assert (np.abs(_attained(context, fitted)) < 0.5).all()
  assert fitted.facts["epochs"] == 1


def test_a_network_leaves_short_batches_out_on_request(config, monkeypatch):
  config.image_size, config.num_epochs, config.batch_size = 4, 1, 25
  ends = []
  program = train_step.compile_train_steps

  def recorded(*args):
    advance = program(*args)

    def record(state, data, order, inputs, start, stop):
      ends.append(stop)
      return advance(state, data, order, inputs, start, stop)

    return record

  monkeypatch.setattr(train_step, "compile_train_steps", recorded)
  for config.drop_last in (False, True):
    learners.network(_context(config, N))
  assert ends == [3] * DRAWS + [2] * DRAWS


def test_a_network_is_judged_by_its_averages(context, config):
  config.num_epochs = 5
  losses = []
  for decay in (0.0, 1e-30, 0.999):
    config.ema_decay = decay
    losses.append(learners.network(_context(config, N)).facts["loss"])
  assert losses[0] == losses[1] != losses[2]  # 1e-30: of the last step only


def test_a_network_that_diverges_is_named(config):
  config.image_size, config.learning_rate = 4, 1e30
  with pytest.raises(errors.DivergedError, match="sign vector 0"):
    learners.network(_context(config, N))


def test_linear_is_the_sign_of_least_squares_and_ends_at_d(config):
  config.image_size = 4
  few = _context(config, D // 2)
  np.testing.assert_allclose(_attained(few, learners.linear(few)), 1)
  many = _context(config, 20 * D)
  fitted = learners.linear(many)
  features = np.c_[many.points.astype(np.float64), np.ones(20 * D)]
  weights = np.linalg.lstsq(features, many.signs.T, rcond=None)[0]
  np.testing.assert_array_equal(fitted.values, np.sign(features @ weights).T)
  assert (_attained(many, fitted) < 0.4).all()
  assert fitted.parameters == D + 1


def test_the_kernel_interpolates_with_the_least_norm(context):
  fitted = learners.kernel(context, "gaussian(bandwidth=5.0)")
  np.testing.assert_allclose(fitted.values, context.signs, atol=1e-6)
  inverse = np.linalg.inv(_gaussian(context.points, 5.0))
  squares = np.sum(context.signs @ inverse * context.signs, axis=1)
  assert fitted.facts["norm"] == pytest.approx(np.sqrt(squares).mean())


@pytest.mark.parametrize("norm", [0.5, 1.0])
def test_the_ball_attains_its_supremum(context, norm):
  fitted = learners.ball(context, "gaussian(bandwidth=5.0)", norm)
  assert np.abs(fitted.values).max() <= norm
  gram = _gaussian(context.points, 5.0)
  squares = np.sum(context.signs @ gram * context.signs, axis=1)
  found = _attained(context, fitted)
  np.testing.assert_allclose(found, norm * np.sqrt(squares) / N)
  # No other function of the ball, sum_i a_i k(x_i, .), does better.
  others = np.random.default_rng(0).normal(size=(1000, N))
  others[:DRAWS] = np.linalg.solve(gram, context.signs.T).T  # interpolants
  norms = np.sqrt(np.sum(others @ gram * others, axis=1, keepdims=True))
  values = others @ gram * norm / norms
  assert (values @ context.signs.T / N <= found + 1e-12).all()


@pytest.mark.parametrize("depth", [0, 7])
def test_the_construction_attains_one_with_a_network_per_sign_vector(
  context, depth
):
  fitted = learners.construction(context, depth)
  np.testing.assert_allclose(fitted.values, context.signs, atol=1e-4)
  if not depth:
    assert fitted.parameters == 2 * N + D


@pytest.mark.parametrize("learner", [learners.network, learners.construction])
def test_what_takes_long_can_be_stopped(config, context, learner):
  def stop():
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    learner(_context(config, N, stop))
