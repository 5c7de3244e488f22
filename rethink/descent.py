"""Optimizers as they are named in a config, and the step that they take.

There are two kinds. A function without a parameter `learning_rate`, such as
those of `rethink/optimizers.py`, returns a direction of descent, which the
training step multiplies by the learning rate. A function with one, such as
Optax's optimizers, is given the learning rate of the step and returns what is
added to the parameters. It is made anew in every step, because the learning
rate enters in different places: LARS has it inside the momentum.
"""

import ast
import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rethink import errors, specs

_RATE = "learning_rate"
# Not whole optimizers: the sign of scale_by_rprop is another, and schedule_free
# is evaluated at other parameters than it trains.
_PARTS = ("_", "scale_by_", "schedule_free")
# A small tree of parameters on which an optimizer's functions are traced.
_TRIAL = {"kernel": (3, 2), "bias": (2,)}


def parse(text: str, known: Mapping[str, Callable]) -> specs.Call:
  """Reads "sgd(momentum=0.9)", "optax:adamw(b1=0.8)" or one of one's own.

  Args:
    text: the call.
    known: the optimizers that may be named without a module.

  Returns:
    The call; of Optax's defaults those that a literal can express are filled
    in, the others (functions, types) stay Optax's.

  Raises:
    ConfigError: naming what is wrong and what to do.
  """
  try:
    path, name, positional, named = specs.read(text)
  except (AttributeError, SyntaxError, TypeError, ValueError):
    path, name, positional, named = "", "", [], []  # specs.parse says why
  if _RATE in dict(named):
    raise errors.ConfigError(
      f"config.optimizer: {errors.shown(text)} sets the learning rate, which"
      " comes from config.learning_rate and config.schedule; leave it out"
    )
  of_optax = path.split(".")[0] == "optax"
  if of_optax:
    _check_name(path, name, text)
  call = specs.parse(
    text,
    known,
    "optimizer",
    given=(_RATE,),
    by_name="" if path else "the learning rate is config.learning_rate",
  )
  if positional and _takes_rate(call.function):
    raise errors.ConfigError(
      f"config.optimizer: {errors.shown(text)} gives arguments by position, of"
      f" which the first of {name} is the learning rate; set"
      " config.learning_rate, and write the others by name, such as"
      ' "optax:sgd(momentum=0.9)"'
    )
  if of_optax:
    call = call._replace(kwargs=_canonical(call))
    _check_trace(call)
  return call


def init(
  call: specs.StaticCall, numbers: Mapping[str, Any], rate: Any, params: Any
) -> Any:
  """Returns the optimizer's state before the first step.

  Args:
    call: the optimizer without its numbers.
    numbers: its float arguments.
    rate: the learning rate of the first step.
    params: the parameters.
  """
  return _transform(call, numbers, rate).init(params)


def step(
  call: specs.StaticCall,
  numbers: Mapping[str, Any],
  rate: jax.Array,
  gradients: Any,
  opt_state: Any,
  params: Any,
) -> tuple[Any, Any]:
  """Takes one step of an optimizer.

  Args:
    call: the optimizer without its numbers.
    numbers: its float arguments.
    rate: float32, the learning rate of this step.
    gradients: of the loss at `params`.
    opt_state: the optimizer's state.
    params: before the step.

  Returns:
    The parameters and the optimizer's state after the step.
  """
  updates, opt_state = _transform(call, numbers, rate).update(
    gradients, opt_state, params
  )
  if _takes_rate(call.function):
    return optax.apply_updates(params, updates), opt_state
  return jax.tree.map(lambda p, d: p - rate * d, params, updates), opt_state


def average(old: Any, new: Any, decay: jax.Array, step: jax.Array) -> Any:
  """Returns the next exponential average, with TensorFlow's short start.

  TensorFlow, too, averages the running statistics of batch norm once more.
  """
  decay = jnp.minimum(decay, (1 + step) / (10 + step))
  return optax.incremental_update(new, old, 1 - decay)


def _takes_rate(function: Callable) -> bool:
  return _RATE in inspect.signature(function).parameters


def _transform(
  call: specs.StaticCall, numbers: Mapping[str, Any], rate: Any
) -> optax.GradientTransformation:
  if _takes_rate(call.function):
    function = functools.partial(call.function, **{_RATE: rate})
    call = call._replace(function=function)
  made = call(numbers)
  if not isinstance(made, optax.GradientTransformation):
    raise errors.ConfigError(
      f"config.optimizer: the function returns {type(made).__name__}; it must"
      " return an optax.GradientTransformation"
    )
  return made


def _check_name(path: str, name: str, text: str) -> None:
  module = {"optax": optax, "optax.contrib": optax.contrib}.get(path)
  if module is None:
    raise errors.ConfigError(
      f"config.optimizer: cannot use {errors.shown(text)}; write"
      f" optax:{name}(...) or optax.contrib:{name}(...)"
    )
  functions = {k: v for k, v in vars(module).items() if inspect.isfunction(v)}
  found = [
    k
    for k, v in functions.items()
    if _takes_rate(v) and not k.startswith(_PARTS)
  ]
  if name in found:
    return
  if name in functions and not _takes_rate(functions[name]):
    return
  near = difflib.get_close_matches(name, found, 4) or sorted(found)
  raise errors.ConfigError(
    f"config.optimizer: {path} has no optimizer {name!r} that can be named"
    f" here; there are: {', '.join(near)}"
  )


def _canonical(call: specs.Call) -> dict[str, Any]:
  """Returns the arguments that a literal can express.

  An integer becomes a float where the default is a float.
  """
  signature, kwargs = inspect.signature(call.function), {}
  for name, value in call.kwargs.items():
    default = signature.parameters[name].default
    if type(value) is int and type(default) is float:
      value = float(value)
    try:
      ast.literal_eval(repr(value))
    except (SyntaxError, ValueError):
      continue
    kwargs[name] = value
  return kwargs


def _check_trace(call: specs.Call) -> None:
  """Tries the optimizer on shapes alone, with its numbers traced.

  Raises:
    ConfigError: if it does not take its arguments, needs more than gradients
      and parameters, or has a state that changes its form or cannot be saved.
  """
  params = jax.tree.map(
    lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
    _TRIAL,
    is_leaf=lambda x: isinstance(x, tuple),
  )
  rate = jax.ShapeDtypeStruct((), jnp.float32)

  def trial(numbers, rate, params):
    state = init(call.static, numbers, rate, params)
    return state, step(call.static, numbers, rate, params, state, params)

  try:
    before, after = jax.eval_shape(trial, call.numbers, rate, params)
    form = [
      jax.tree.map(lambda x: (x.shape, x.dtype), tree)
      for tree in ((params, before), after)
    ]
    if form[0] != form[1]:
      raise TypeError("its state changes shape or type in a step")
    for leaf in jax.tree.leaves(before):
      if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise TypeError(
          "its state holds a random key, which cannot be saved; for noise there"
          " is the regularizer gradient_noise()"
        )
  except Exception as error:
    reason = str(error).split("\n")[0]
    raise errors.ConfigError(
      f"config.optimizer: {str(call)!r} cannot train here: {reason}"
    ) from error
