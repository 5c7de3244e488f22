import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rethink import optimizers, schedules, specs

RATES = (0.1, 0.1, 0.02, 0.3, 0.05)
LENGTH = schedules.Length(jnp.int32(7), jnp.int32(70))


def _gradients(steps=5):
  rng = np.random.default_rng(0)
  return [
    {"w": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}
    for _ in range(steps)
  ]


def _float32(tree):
  return jax.tree.map(jnp.float32, tree)


def _descend(transform, params, rates=RATES):
  """params -= rate * direction for every gradient; all params on the way."""
  params, way = _float32(params), []
  state = transform.init(params)
  for gradient, rate in zip(_gradients(), rates, strict=True):
    direction, state = transform.update(_float32(gradient), state, params)
    params = jax.tree.map(lambda p, d, r=rate: p - r * d, params, direction)
    way.append(params)
  return way


def _momentum(start, momentum, nesterov):
  """TensorFlow's MomentumOptimizer in float64."""
  params = {k: np.asarray(v, np.float64) for k, v in start.items()}
  accumulated = {k: np.zeros_like(v) for k, v in params.items()}
  way = []
  for gradient, rate in zip(_gradients(), RATES, strict=True):
    for k, g in gradient.items():
      accumulated[k] = momentum * accumulated[k] + g
      ahead = g + momentum * accumulated[k]
      step = ahead if nesterov else accumulated[k]
      params[k] = params[k] - rate * step
    way.append(dict(params))
  return way


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_momentum_whose_learning_rate_stands_outside(momentum, nesterov):
  start = _gradients(1)[0]
  got = _descend(optimizers.sgd(momentum, nesterov), start)
  want = _momentum(start, momentum, nesterov)
  for one, other in zip(got, want, strict=True):
    for k in one:
      np.testing.assert_allclose(one[k], other[k], rtol=1e-5, atol=1e-6)


def test_nesterov_is_another_method():
  start = _gradients(1)[0]
  plain = _descend(optimizers.sgd(0.9, nesterov=False), start)
  ahead = _descend(optimizers.sgd(0.9, nesterov=True), start)
  assert not np.allclose(plain[-1]["w"], ahead[-1]["w"], atol=1e-2)


def test_adam_is_that_of_optax():
  start = _gradients(1)[0]
  rate = 0.03
  got = _descend(
    optimizers.adam(b1=0.8, b2=0.99, eps=1e-3), start, (rate,) * len(RATES)
  )
  reference = optax.adam(rate, b1=0.8, b2=0.99, eps=1e-3)
  params = _float32(start)
  state = reference.init(params)
  for gradient, one in zip(_gradients(), got, strict=True):
    updates, state = reference.update(_float32(gradient), state, params)
    params = optax.apply_updates(params, updates)
    for k in params:
      np.testing.assert_allclose(one[k], params[k], rtol=1e-5, atol=1e-6)


def test_rmsprop_is_that_of_tensorflow_while_the_learning_rate_stays():
  start = _gradients(1)[0]
  rate, decay, momentum, epsilon = 0.03, 0.8, 0.7, 0.5
  got = _descend(
    optimizers.rmsprop(decay, momentum, epsilon), start, (rate,) * len(RATES)
  )
  for k, value in start.items():
    params = np.asarray(value, np.float64)
    squares, moved = np.ones_like(params), np.zeros_like(params)
    for gradient, one in zip(_gradients(), got, strict=True):
      squares = decay * squares + (1 - decay) * gradient[k] ** 2
      moved = momentum * moved + rate * gradient[k] / np.sqrt(squares + epsilon)
      params = params - moved
      np.testing.assert_allclose(one[k], params, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(specs.public(optimizers)))
def test_an_optimizer_descends_with_traced_numbers(name):
  call = specs.parse(name, specs.public(optimizers), "optimizer")
  traced = []

  @jax.jit
  def step(numbers, params, state):
    traced.append(name)
    transform = call.static(numbers)
    gradient = jax.tree.map(lambda p: 2 * p, params)
    direction, state = transform.update(gradient, state, params)
    return jax.tree.map(lambda p, d: p - 0.05 * d, params, direction), state

  params = {"w": jnp.float32([1, -2]), "b": jnp.float32(3)}
  state = call().init(params)
  for i in range(100):
    numbers = {k: v * (1 - 1e-3 * (i % 2)) for k, v in call.numbers.items()}
    params, state = step(numbers, params, state)
  assert max(abs(x).max() for x in jax.tree.leaves(params)) < 0.2
  assert len(traced) == 1


def _factors(text, length=LENGTH):
  """The factor at every step of a run, and one step past it."""
  call = specs.of_module(text, schedules, "schedule")
  steps = range(int(length.num_steps) + 1)
  return np.array([call(jnp.int32(s), length) for s in steps])


@pytest.mark.parametrize("name", sorted(specs.public(schedules)))
def test_a_schedule_is_a_factor_whose_numbers_may_be_traced(name):
  call = specs.of_module(name, schedules, "schedule")
  static = call.static
  traced = []

  @jax.jit
  def factor(numbers, step, length):
    traced.append(name)
    return static(numbers, step, length)

  eager = _factors(name)
  assert eager.dtype == np.float32
  assert (eager >= 0).all() and (eager <= 1).all() and eager[0] > 0
  for step in (0, 6, 7, 69):
    got = factor(call.numbers, jnp.int32(step), LENGTH)
    np.testing.assert_allclose(got, eager[step], rtol=1e-6, atol=1e-7)
  half = {k: v / 2 for k, v in call.numbers.items()}
  factor(half, jnp.int32(3), schedules.Length(jnp.int32(3), jnp.int32(9)))
  assert len(traced) == 1


def test_constant_is_one():
  assert (_factors("constant") == 1).all()


@pytest.mark.parametrize("every", [1, 2, 3])
def test_exponential_is_a_staircase(every):
  got = _factors(f"exponential(decay=0.95, every_epochs={every})")[:-1]
  epochs = got.reshape(10, 7)
  assert (epochs == epochs[:, :1]).all()
  want = 0.95 ** (np.arange(10) // every).astype(np.float64)
  np.testing.assert_allclose(epochs[:, 0], want, rtol=1e-6)


def test_exponential_is_accurate_at_the_end_of_a_long_run():
  length = schedules.Length(jnp.int32(391), jnp.int32(391 * 100))
  got = schedules.exponential(jnp.int32(391 * 99 + 390), length)
  np.testing.assert_allclose(got, 0.95**99, rtol=2e-5)


def test_cosine_rises_linearly_and_falls_to_zero():
  got = _factors("cosine(warmup_epochs=2)")
  np.testing.assert_allclose(got[:14], np.arange(1, 15) / 14, rtol=1e-6)
  falling = 0.5 * (1 + np.cos(np.pi * np.arange(57) / 56))
  np.testing.assert_allclose(got[14:], falling, atol=1e-6)
  assert got[-2] < 1e-2


def test_cosine_without_warmup_starts_at_one():
  got = _factors("cosine(warmup_epochs=0)")
  assert got[0] == 1
  assert (np.diff(got[1:]) < 0).all()
