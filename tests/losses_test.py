"""Losses beside their formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import compiled, errors, losses, settings, specs

KNOWN = specs.public(losses)
NAMES = sorted(KNOWN)
RNG = np.random.default_rng(0)
LOGITS = 3 * RNG.normal(size=(7, 5))
ONE_HOT = np.eye(5)[RNG.integers(0, 5, 7)]
SOFT = 0.7 * ONE_HOT + 0.3 * RNG.dirichlet(np.ones(5), 7)
TARGETS = pytest.mark.parametrize(
  "targets", [ONE_HOT, SOFT], ids=["hard", "soft"]
)


def _parse(text):
  return specs.of_module(text, losses, "loss")


def _softmax(logits):
  e = np.exp(logits - logits.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def _log(x):
  return np.log(np.maximum(x, 1e-300))


def _cross_entropy(logits, targets):
  return -(targets * _log(_softmax(logits))).sum(-1)


def _squared_error(logits, targets):
  return ((logits - targets) ** 2).mean(-1)


def _generalized(q):
  def loss(logits, targets):
    return (targets * (1 - _softmax(logits) ** q) / q).sum(-1)

  return loss


def _symmetric(alpha, beta, log_zero):
  def loss(logits, targets):
    p, log_targets = _softmax(logits), _log(targets)
    log_targets = np.maximum(log_targets, log_zero)
    forward = _cross_entropy(logits, targets)
    return alpha * forward - beta * (p * log_targets).sum(-1)

  return loss


def _bootstrapped(beta):
  def loss(logits, targets):
    p = _softmax(logits)
    return -((beta * targets + (1 - beta) * p) * _log(p)).sum(-1)

  return loss


ORACLES = {
  "cross_entropy": _cross_entropy,
  "squared_error": _squared_error,
  "generalized_cross_entropy": _generalized(0.7),
  "generalized_cross_entropy(q=0.0)": _cross_entropy,
  "generalized_cross_entropy(q=0.01)": _generalized(0.01),
  "generalized_cross_entropy(q=1.0)": _generalized(1.0),
  "symmetric_cross_entropy": _symmetric(0.1, 1.0, -9.2),
  "symmetric_cross_entropy(2.0, 0.5, -4.0)": _symmetric(2.0, 0.5, -4.0),
  "bootstrapped": _bootstrapped(0.95),
  "bootstrapped(beta=0.6)": _bootstrapped(0.6),
}


def _float32(*arrays):
  return [jnp.asarray(a, jnp.float32) for a in arrays]


@TARGETS
@pytest.mark.parametrize("text", ORACLES)
def test_a_loss_and_its_gradient_are_those_of_its_formula(text, targets):
  call, oracle = _parse(text), ORACLES[text]
  got, slope = jax.value_and_grad(lambda x, t: call(x, t).sum(), argnums=0)(
    *_float32(LOGITS, targets)
  )
  want = oracle(LOGITS, targets)
  np.testing.assert_allclose(call(*_float32(LOGITS, targets)), want, rtol=2e-5)
  np.testing.assert_allclose(got, want.sum(), rtol=1e-5)
  step = 1e-5
  for i in range(LOGITS.shape[1]):
    move = step * np.eye(LOGITS.shape[1])[i]
    difference = oracle(LOGITS + move, targets) - oracle(LOGITS - move, targets)
    np.testing.assert_allclose(
      slope[:, i], difference / (2 * step), rtol=1e-4, atol=2e-6
    )


@TARGETS
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_a_finite_number_per_example(name, scale, targets):
  call = _parse(name)
  logits, targets = _float32(scale * LOGITS, targets)
  loss = call(logits, targets)
  assert loss.shape == (7,) and loss.dtype == jnp.float32
  assert np.isfinite(loss).all()
  slope = jax.grad(lambda x: call(x, targets).sum())(logits)
  assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_prefers_the_target(name):
  call, one_hot = _parse(name), jnp.eye(4)
  right, wrong = call(4 * one_hot, one_hot), call(4 * one_hot[::-1], one_hot)
  assert (right < wrong).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_loss_may_be_traced(name):
  call, traced = _parse(name), []
  assert call.numbers.keys() == call.kwargs.keys()

  @jax.jit
  def loss(numbers, logits, targets):
    traced.append(name)
    return call.static(numbers, logits, targets)

  arrays = _float32(LOGITS, SOFT)
  np.testing.assert_allclose(
    loss(call.numbers, *arrays), call(*arrays), rtol=1e-5
  )
  loss({k: v / 2 for k, v in call.numbers.items()}, *arrays)
  assert len(traced) == 1


def test_reverse_cross_entropy_bounds_what_a_wrong_label_costs():
  call = _parse("symmetric_cross_entropy(alpha=0.0, beta=1.0, log_zero=-4.0)")
  sure = jnp.float32([[1e4, 0, 0]])
  np.testing.assert_allclose(call(sure, jnp.eye(3)[1:2]), 4, rtol=1e-6)
  np.testing.assert_allclose(call(sure, jnp.eye(3)[:1]), 0, atol=1e-6)


def own_loss(step, name, examples: float = 2.0):
  """A loss of the user's own, with names that other components reserve."""
  return examples * losses.cross_entropy(step, name)


def summed(logits, targets):
  return losses.cross_entropy(logits, targets).sum()


def test_a_loss_of_ones_own_may_name_its_arguments_as_it_likes(config):
  config.loss = f"{__name__}:own_loss(examples=3)"
  run = settings.resolve(config)
  assert str(run.loss) == f"{__name__}:own_loss(examples=3.0)"
  assert run.loss.numbers == {"examples": 3.0}
  logits, targets = _float32(LOGITS, SOFT)
  np.testing.assert_allclose(
    run.loss(logits, targets), 3 * _cross_entropy(LOGITS, SOFT), rtol=1e-5
  )


def test_a_loss_that_is_no_number_per_example_is_refused(config, sharding):
  config.loss = f"{__name__}:summed()"
  run = settings.resolve(config)
  static = compiled.static_arguments(run, 5, sharding(1))
  traced = compiled.traced_arguments(run, None, None)
  with pytest.raises(errors.ConfigError, match=r"config\.loss.*per example"):
    compiled.mean_loss(static, traced, *_float32(LOGITS, SOFT))


@pytest.mark.parametrize(
  "text, message",
  [
    ("entropy()", r"config\.loss: there is no 'entropy'.*squared_error"),
    ("bootstrapped(beta=2.0)", r"beta must lie in \[0.0, 1.0\]"),
    ("cross_entropy(logits=1.0)", "does not take 'logits'"),
  ],
)
def test_a_wrong_loss_is_named(text, message, config):
  config.loss = text
  with pytest.raises(errors.ConfigError, match=message):
    settings.resolve(config)


def test_only_another_loss_than_before_is_part_of_the_outcome(config):
  plain = settings.resolve(config)
  assert "loss" not in plain.outcome
  config.loss = "cross_entropy"
  assert settings.resolve(config).outcome == plain.outcome
  config.loss = "squared_error"
  assert settings.resolve(config).outcome["loss"] == "squared_error()"
