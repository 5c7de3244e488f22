"""Optimizers of Optax, beside Optax's own loop."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rethink import (
  compiled,
  descent,
  errors,
  optimizers,
  schedules,
  settings,
  specs,
)

KNOWN = specs.public(optimizers)
RATES = np.float32([0.1, 0.1, 0.02, 0.3, 0.05])
CALLS = [
  "optax:sgd(momentum=0.9)",
  "optax:sgd(momentum=0.9, nesterov=True)",
  "optax:adamw(weight_decay=0.1)",
  "optax:lion()",
  "optax:lamb(weight_decay=0.1)",
  "optax:lars(weight_decay=0.1)",
  "optax:adafactor(momentum=0.9, weight_decay_rate=0.1)",
  "optax:fromage()",
  "optax:rmsprop(momentum=0.9)",
]
# Of Optax these need more than gradients and parameters, or a key.
REFUSED = {"lbfgs", "noisy_sgd"}
NAMES = sorted(
  name
  for name, value in vars(optax).items()
  if inspect.isfunction(value)
  and next(iter(inspect.signature(value).parameters), "") == "learning_rate"
  and not name.startswith(("_", "scale_by"))
)


def _params():
  rng = np.random.default_rng(0)
  return {
    "w": jnp.float32(rng.normal(size=(3, 2))),
    "b": jnp.float32(rng.normal(size=2)),
  }


def _gradients(i, params):
  return jax.tree.map(lambda p: jnp.sin((i + 1) * p) + 0.1 * i, params)


def _ours(call, rates, numbers=None):
  @jax.jit
  def one(numbers, rate, gradients, state, params):
    return descent.step(call.static, numbers, rate, gradients, state, params)

  numbers, params = numbers or call.numbers, _params()
  state = descent.init(call.static, numbers, rates[0], params)
  for i, rate in enumerate(rates):
    gradients = _gradients(i, params)
    params, state = one(numbers, rate, gradients, state, params)
  return params


def _optax(call, rates, exact=False):
  """Optax's own loop; its numbers are float32, as ours, or `exact`."""
  name = call.name.removeprefix("optax:")
  rates = jnp.asarray(rates)
  numbers = (
    {} if exact else {k: jnp.float32(v) for k, v in call.numbers.items()}
  )
  kwargs = {**call.kwargs, **numbers}
  reference = getattr(optax, name)(lambda count: rates[count], **kwargs)
  params = _params()
  state = reference.init(params)
  for i in range(len(rates)):
    gradients = _gradients(i, params)
    updates, state = reference.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
  return params


def _close(one, other, atol=1e-6):
  for k in one:
    np.testing.assert_allclose(one[k], other[k], rtol=1e-6, atol=atol)


@pytest.mark.parametrize("text", CALLS)
def test_five_steps_are_those_of_optax_with_the_same_learning_rates(text):
  call = descent.parse(text, KNOWN)
  got = _ours(call, RATES)
  _close(got, _optax(call, RATES))
  # In float32, 1 - b2 of Adam is 5e-5 off; Optax rounds one of its two uses.
  _close(got, _optax(call, RATES, exact=True), atol=5e-5)


@pytest.mark.parametrize(
  "text",
  ["sgd(momentum=0.8)", "optax:lion()", "optax:adamw(weight_decay=0.1)"],
)
def test_the_config_sets_learning_rate_and_schedule(text, config):
  config.optimizer, config.learning_rate = text, 0.3
  config.schedule = "exponential(decay=0.5)"
  run = settings.resolve(config)
  length = schedules.Length(jnp.int32(2), jnp.int32(10))
  traced = compiled.traced_arguments(run, length, None)
  rates = [
    traced.learning_rate * run.schedule(jnp.int32(i), length) for i in range(5)
  ]
  np.testing.assert_allclose(rates, [0.3, 0.3, 0.15, 0.15, 0.075])
  name = text if text.startswith("optax:") else f"optax:{text}"
  reference = descent.parse(name, KNOWN)
  _close(_ours(run.optimizer, rates), _optax(reference, rates))


# Those that Optax will drop are optimizers until then.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", sorted(set(NAMES) - REFUSED))
def test_every_number_of_an_optimizer_of_optax_may_be_traced(name):
  call = descent.parse(f"optax:{name}", KNOWN)  # traces it, numbers as inputs
  defaults = inspect.signature(getattr(optax, name)).parameters.values()
  floats = {p.name for p in defaults if isinstance(p.default, float)}
  assert set(call.numbers) == floats
  assert str(descent.parse(str(call), KNOWN)) == str(call)


@pytest.mark.parametrize(
  "text",
  [
    "optax:sgd(momentum=0.9)",
    "optax:rmsprop(momentum=0.9)",
    "optax:adafactor(momentum=0.9, weight_decay_rate=0.1)",
    "optax.contrib:muon(weight_decay=0.1)",
    "optax:scale_by_adam(b1=0.8)",
    "optax:adamw(mu_dtype='bfloat16')",
  ],
)
def test_numbers_that_optax_may_leave_out_may_be_traced_too(text):
  assert descent.parse(text, KNOWN).numbers


def test_an_integer_in_place_of_a_float_is_a_float():
  one, two = (
    descent.parse(f"optax:adamw(weight_decay={value})", KNOWN)
    for value in ("0", "0.0")
  )
  assert str(one) == str(two) and one.static == two.static


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
  "text, message",
  [
    ("optax:adamv()", "no optimizer 'adamv'.*there are: .*adamw"),
    ("optax.contrib:moun()", "no optimizer 'moun'.*muon"),
    ("optax.contrib:schedule_free_sgd()", "cannot|no optimizer"),
    ("optax:scale_by_rprop()", "no optimizer 'scale_by_rprop'"),
    ("optax.transforms:sgd()", "write optax:sgd"),
    ("optax:sgd(learning_rate=0.1)", "config.learning_rate"),
    ("sgd(learning_rate=0.1)", "config.learning_rate"),
    ("optax:sgd(0.1)", "by position.*config.learning_rate.*by name"),
    ("optax:sgd(lr=0.1)", "does not take 'lr'; it takes: momentum"),
    ("optax:adamw(weight_decay='a')", "'optax:adamw|cannot train here"),
    ("optax:lbfgs()", "cannot train here.*'value'"),
    ("optax:noisy_sgd(seed=0)", "cannot be saved.*gradient_noise"),
    ("optax:constant_schedule(value=0.1)", "cannot train here"),
    ("optax:", "config.optimizer"),
    ("optax:sgd(", "cannot read"),
  ],
)
def test_what_is_no_optimizer_is_refused_in_a_sentence(text, message):
  with pytest.raises(errors.ConfigError, match=message) as caught:
    descent.parse(text, KNOWN)
  assert "\n" not in str(caught.value)
  assert "config.optimizer" in str(caught.value)


def own(step: float, name: str = "x", stop: float = 0.5):
  """A direction of one's own, whose arguments are called like others'."""
  del name
  return optax.chain(optax.trace(stop), optax.scale(step))


def own_updates(rate_decay: float, *, learning_rate):
  """Updates of one's own, as Optax's optimizers return them."""
  return optax.sgd(learning_rate * rate_decay)


def test_an_optimizer_of_ones_own_may_name_its_arguments_as_it_likes():
  call = descent.parse(f"{__name__}:own(2, name='y', stop=0.25)", KNOWN)
  assert call.kwargs == {"step": 2.0, "name": "y", "stop": 0.25}
  want = descent.parse("sgd(momentum=0.25)", KNOWN)
  _close(_ours(call, RATES), _ours(want, 2 * RATES))


def test_one_of_ones_own_that_takes_the_learning_rate_returns_updates():
  call = descent.parse(f"{__name__}:own_updates(rate_decay=0.5)", KNOWN)
  assert call.numbers == {"rate_decay": 0.5}
  want = descent.parse("sgd(momentum=0.0)", KNOWN)
  _close(_ours(call, RATES), _ours(want, 0.5 * RATES))
