"""Components as calls in strings: "weight_decay(0.0005)".

A name is looked up in the module of its kind, or in a module of the user's own
("my.module:my_function(rate=0.5)"). Arguments are Python literals. A parsed
call is complete: every default is filled in, so that equal components have
equal text, whatever was typed. A dict, which could not name a program, becomes
the tuple of its sorted pairs.
"""

import ast
import difflib
import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from rethink import errors

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


Leading = Sequence[str] | Callable[[Callable[..., Any]], Sequence[str]]


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
    """The part that a program is compiled for: all but the floats' values."""
    items = tuple(
      (k, None if isinstance(v, float) else v) for k, v in self.kwargs.items()
    )
    return StaticCall(self.function, items)

  def __call__(self, *args: Any) -> Any:
    return self.function(*args, **self.kwargs)


def read(text: str) -> tuple[str, str, list[Any], list[tuple[str, Any]]]:
  """Splits a call into module path ("" for none), name and arguments.

  Returns:
    (path, name, positional arguments, named arguments as pairs).

  Raises:
    SyntaxError, ValueError: if the text is no call with literal arguments.
  """
  head, rest = text.partition("(")[0], text
  path, _, name = head.strip().rpartition(":")
  if path:
    rest = text[text.index(":") + 1 :]
  node = ast.parse(rest.strip(), mode="eval").body
  if isinstance(node, ast.Name):
    node = ast.Call(func=node, args=[], keywords=[])
  if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
    raise ValueError(text)
  args = [_literal(a) for a in node.args]
  pairs = [(str(k.arg), _literal(k.value)) for k in node.keywords]
  return path, name, args, pairs


def parse(
  text: str,
  known: Mapping[str, Callable],
  field: str,
  leading: Leading = (),
  given: Collection[str] = (),
) -> Call:
  """Reads a call such as "dropout(0.5)".

  Args:
    text: the call; the parentheses may be left out.
    known: the components that may be named without a module path.
    field: the config field, for messages.
    leading: what the package passes first, by position, or a function that
      tells it from the component; a function of the user's own may call these
      parameters as it likes.
    given: names of further parameters that the package fills in.

  Raises:
    ConfigError: naming the field, what is wrong and what exists.
  """
  if not isinstance(text, str):
    raise errors.ConfigError(
      f"config.{field}: {text!r} must be a call in quotes"
    )
  try:
    path, name, args, pairs = read(text)
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
      f"config.{field}: there is no {name!r}{did_you_mean(name, known)}; there"
      f" are: {', '.join(sorted(known))} (your own: my.module:{name}(...))"
    )
  if callable(leading):
    leading = leading(function)
  where = f"config.{field}: {text!r}"
  bound = _bind(function, args, pairs, where, leading, given)
  return Call(f"{path}:{name}" if path else name, function, bound)


def of_module(text: str, module: types.ModuleType, field: str) -> Call:
  """Reads a call of a public function of a module, or of the user's own.

  A module declares in LEADING what its functions get from the package first.

  Raises:
    ConfigError: as `parse` does.
  """
  return parse(text, public(module), field, getattr(module, "LEADING", ()))


def did_you_mean(name: str, known: Iterable[str]) -> str:
  """Returns " (did you mean 'x'?)" for the most similar name, "" for none."""
  near = difflib.get_close_matches(name, list(known), n=1)
  return f" (did you mean {near[0]!r}?)" if near else ""


def public(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
  """Returns the public functions that a module defines itself, by name."""
  return {
    name: value
    for name, value in vars(module).items()
    if inspect.isfunction(value)
    and value.__module__ == module.__name__
    and not name.startswith("_")
  }


def signature(function: Callable[..., Any]) -> inspect.Signature:
  """Returns the signature of a function or constructor, types evaluated."""
  hidden = inspect.isclass(function) and (
    type(function).__call__ is not type.__call__
  )
  if not hidden:
    return inspect.signature(function, eval_str=True)
  # A metaclass such as that of Flax NNX shows (*args, **kwargs) instead.
  found = inspect.signature(function.__init__, eval_str=True)
  return found.replace(parameters=list(found.parameters.values())[1:])


def _literal(node: ast.expr) -> Any:
  value = ast.literal_eval(node)
  return tuple(sorted(value.items())) if isinstance(value, dict) else value


def _own(path: str, name: str, field: str) -> Callable[..., Any]:
  where = f"config.{field}: cannot use {name!r} of module {path!r}: "
  try:
    module = importlib.import_module(path)
  except Exception as error:
    missing = error.name if isinstance(error, ModuleNotFoundError) else ""
    # ".own" is no name of a module. What the module itself raises is a fault in
    # the user's code, whose traceback says more than a sentence.
    if path.startswith(".") or (
      missing and f"{path}.".startswith(f"{missing}.")
    ):
      raise errors.ConfigError(f"{where}there is no such module") from None
    error.add_note(f"raised by the module {path!r} that config.{field} names")
    raise
  try:
    function = getattr(module, name)
    signature(function)  # raises if it cannot be called so
    return function
  except (AttributeError, TypeError, ValueError) as error:
    raise errors.ConfigError(f"{where}{error}") from None


def _bind(function, args, pairs, where, leading, given_names):
  every = list(signature(function).parameters.items())
  by_position = [
    name
    for name, p in every
    if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
  ]
  if len(by_position) < len(leading) and not any(
    p.kind is p.VAR_POSITIONAL for _, p in every
  ):
    raise errors.ConfigError(
      f"{where}: the function must take {', '.join(leading)} first; it takes:"
      f" {', '.join(name for name, _ in every) or 'nothing'}"
    )
  parameters = {
    name: parameter
    for name, parameter in every
    if name not in by_position[: len(leading)]
    and name not in given_names
    and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
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
  """Returns True if a literal has the annotated type, where that is plain."""
  origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
  if origin is typing.Literal:
    return any(value == c and type(value) is type(c) for c in inner)
  if origin is tuple and inner[1:] == (Ellipsis,):
    return type(value) is tuple and all(_fits(v, inner[0]) for v in value)
  return wanted not in _LITERALS or type(value) is wanted
