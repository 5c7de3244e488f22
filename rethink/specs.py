"""Components as calls in strings: "weight_decay(0.0005)".

A name is looked up in the module of its kind, or in a module of the user's own
("my.module:my_function(rate=0.5)"). Arguments are Python literals. A parsed
call is complete: every default is filled in, so that equal components have
equal text, whatever was typed. A dict, which could not name a program, becomes
the tuple of its sorted pairs.
"""

import ast
import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from rethink import errors

# Filled in by the package, not by the user.
_GIVEN = {
  *(
    "examples",
    "ids",
    "labels",
    "context",
    "num_classes",
    "parent",
    "name",
    "step",
  ),
  *("run_settings", "run", "data_dir", "stop"),
  *("matrix", "ridge", "images", "problem"),
}
_LITERALS = (bool, int, float, str, tuple)


class Range(NamedTuple):
  """Bounds of a float argument, both included."""

  low: float
  high: float


Fraction = Annotated[float, Range(0.0, 1.0)]
NotNegative = Annotated[float, Range(0.0, math.inf)]
_FILE = "a file that is read"
# The path of a file whose content changes the result: part of the fingerprint.
InputFile = Annotated[str, _FILE]


class StaticCall(NamedTuple):
  """A component without the values of its float arguments; hashable.

  Attributes:
    function: what the name means.
    items: (argument, value) pairs; None stands for a float.
  """

  function: Callable[..., Any]
  items: tuple[tuple[str, Any], ...]

  def __call__(self, numbers: Mapping[str, Any], *args: Any) -> Any:
    """Calls the function; `numbers` holds the floats, traced or not."""
    kwargs = {k: numbers[k] if k in numbers else v for k, v in self.items}
    return self.function(*args, **kwargs)


class Call(NamedTuple):
  """A component and all its arguments.

  Attributes:
    name: as written; "function" or "module.path:function".
    function: what the name means.
    kwargs: every argument that a user can set, defaults filled in.
  """

  name: str
  function: Callable[..., Any]
  kwargs: Mapping[str, Any]

  def __str__(self) -> str:
    inner = ", ".join(f"{k}={v!r}" for k, v in self.kwargs.items())
    return f"{self.name}({inner})"

  @property
  def numbers(self) -> dict[str, float]:
    """The float arguments, which travel into compiled programs as inputs."""
    return {k: v for k, v in self.kwargs.items() if isinstance(v, float)}

  @property
  def static(self) -> StaticCall:
    """What a compiled program depends on: all but the values of floats."""
    items = tuple(
      (k, None if isinstance(v, float) else v) for k, v in self.kwargs.items()
    )
    return StaticCall(self.function, items)

  def __call__(self, *args: Any) -> Any:
    return self.function(*args, **self.kwargs)


def parse(text: str, known: Mapping[str, Callable], field: str) -> Call:
  """Reads a call such as "dropout(0.5)".

  Args:
    text: the call; the parentheses may be left out.
    known: the components that may be named without a module path.
    field: the config field, for messages.

  Raises:
    ConfigError: naming the field, what is wrong and what exists.
  """
  if not isinstance(text, str):
    raise errors.ConfigError(
      f"config.{field}: {text!r} must be a call in quotes"
    )
  head, rest = text.partition("(")[0], text
  path, _, name = head.strip().rpartition(":")
  if path:
    rest = text[text.index(":") + 1 :]
  try:
    node = ast.parse(rest.strip(), mode="eval").body
    if isinstance(node, ast.Name):
      node = ast.Call(func=node, args=[], keywords=[])
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
      raise ValueError
    args = [_literal(a) for a in node.args]
    pairs = [(str(k.arg), _literal(k.value)) for k in node.keywords]
    ast.literal_eval(repr((args, pairs)))  # inf has no literal
    hash((tuple(args), tuple(pairs)))  # lists cannot name a program
  except (SyntaxError, TypeError, ValueError):
    raise errors.ConfigError(
      f"config.{field}: cannot read {text!r}; write a call with literal"
      ' arguments, such as "name(0.5, flag=True)"'
    ) from None
  function = _own(path, name, field) if path else known.get(name)
  if function is None:
    raise errors.ConfigError(
      f"config.{field}: there is no {name!r}; there are:"
      f" {', '.join(sorted(known))} (your own: my.module:{name}(...))"
    )
  bound = _bind(function, args, pairs, f"config.{field}: {text!r}")
  return Call(f"{path}:{name}" if path else name, function, bound)


def input_files(call: Call) -> list[str]:
  """The paths among a call's arguments: those annotated as `InputFile`."""
  parameters = inspect.signature(call.function, eval_str=True).parameters
  return [
    value
    for name, value in call.kwargs.items()
    if parameters[name].annotation == InputFile
  ]


def public(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
  """The functions that a module defines itself, by name."""
  return {
    name: value
    for name, value in vars(module).items()
    if inspect.isfunction(value)
    and value.__module__ == module.__name__
    and not name.startswith("_")
  }


def _literal(node: ast.expr) -> Any:
  value = ast.literal_eval(node)
  return tuple(sorted(value.items())) if isinstance(value, dict) else value


def _own(path: str, name: str, field: str) -> Callable[..., Any]:
  try:
    function = getattr(importlib.import_module(path), name)
    inspect.signature(function)  # raises if it cannot be called so
    return function
  except (ImportError, AttributeError, TypeError, ValueError) as error:
    raise errors.ConfigError(
      f"config.{field}: cannot use {name!r} of module {path!r}: {error}"
    ) from None


def _bind(function, args, pairs, where):
  signature = inspect.signature(function, eval_str=True)
  parameters = {
    name: parameter
    for name, parameter in signature.parameters.items()
    if name not in _GIVEN
  }
  known = ", ".join(parameters) or "none"
  if len(args) > len(parameters):
    raise errors.ConfigError(
      f"{where} has too many arguments; it takes: {known}"
    )
  given = dict(zip(parameters, args, strict=False))
  for key, value in pairs:
    if key not in parameters or key in given:
      twice = "gives twice" if key in given else "does not take"
      raise errors.ConfigError(f"{where} {twice} {key!r}; it takes: {known}")
    given[key] = value
  bound = {}
  for name, parameter in parameters.items():
    value = given.get(name, parameter.default)
    if value is inspect.Parameter.empty:
      raise errors.ConfigError(f"{where} needs a value for {name!r}")
    bound[name] = _coerce(value, parameter, name, where)
  return bound


def _coerce(value, parameter, name, where):
  wanted = parameter.annotation
  if wanted is inspect.Parameter.empty:
    wanted = type(parameter.default)
  limits = None
  if typing.get_origin(wanted) is Annotated:
    wanted, limits = typing.get_args(wanted)[:2]
  if wanted is float and type(value) is int:
    value = float(value)
  if not _fits(value, wanted):
    shown = getattr(wanted, "__name__", wanted)
    if typing.get_origin(wanted) is typing.Literal:
      shown = f"one of {typing.get_args(wanted)}"
    raise errors.ConfigError(f"{where}: {name} must be {shown}, not {value!r}")
  if isinstance(limits, Range) and not limits.low <= value <= limits.high:
    raise errors.ConfigError(
      f"{where}: {name} must lie in [{limits.low}, {limits.high}], not {value}"
    )
  return value


def _fits(value, wanted) -> bool:
  """Whether a literal has the annotated type, as far as it is a plain one."""
  origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
  if origin is typing.Literal:
    return any(value == c and type(value) is type(c) for c in inner)
  if origin is tuple and inner[1:] == (Ellipsis,):
    return type(value) is tuple and all(_fits(v, inner[0]) for v in value)
  return wanted not in _LITERALS or type(value) is wanted
