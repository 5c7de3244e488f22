"""Binding of literal arguments to a component's parameters."""

import inspect
import typing
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, NamedTuple

from rethink import errors

_LITERALS = (bool, int, float, str, tuple)


class Range(NamedTuple):
  """Bounds of a number, or of each one in a tuple; both included."""

  low: float
  high: float


Fraction = Annotated[float, Range(0.0, 1.0)]
_LARGEST = 3.4e38  # of float32
Finite = Annotated[float, Range(-_LARGEST, _LARGEST)]
NotNegative = Annotated[float, Range(0.0, _LARGEST)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
# Sizes of layers: beyond it no kernel of a second such layer has a memory.
Size = Annotated[int, Range(1, 2**24)]
Sizes = Annotated[tuple[int, ...], Range(1, 2**24)]
_FILE = "a file that is read"
# The path of a file whose content changes the result: part of the fingerprint.
InputFile = Annotated[str, _FILE]


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


def bind(
  function: Callable[..., Any],
  args: Sequence[Any],
  pairs: Sequence[tuple[str, Any]],
  where: str,
  leading: Sequence[str],
  filled_in: Collection[str],
  by_name: str,
) -> dict[str, Any]:
  """Returns all arguments of a call by name, defaults included.

  Args:
    function: what is called.
    args: the literals that were given by position.
    pairs: the literals that were given by name.
    where: field and text of the call, for messages.
    leading: parameters that the package fills in by position.
    filled_in: parameters that the package fills in by name.
    by_name: why numbers by position are refused; "" takes them.

  Raises:
    ConfigError: naming the argument that is missing, unknown, given twice, of
      another type or out of range.
  """
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
    and name not in filled_in
    and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
  }
  known = ", ".join(parameters) or "none"
  if len(args) > len(parameters):
    raise errors.ConfigError(
      f"{where} has too many arguments; it takes: {known}"
    )
  places = [n for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
  for at, value in enumerate(args):
    unclear = bool(by_name) and type(value) in (bool, int, float)
    if unclear or at >= len(places):
      name = next(n for n in parameters if n not in places[:at])
      why = f" ({by_name})" if unclear else ""
      raise errors.ConfigError(
        f"{where} does not say which argument {errors.shown(value)} is{why};"
        f" write it by name, such as {name}={errors.shown(value)}; it takes:"
        f" {known}"
      )
  given = dict(zip(places, args, strict=False))
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
  if wanted is float and type(value) is int and abs(value) < 2**1000:
    value = float(value)
  if not _fits(value, wanted):
    shown = getattr(wanted, "__name__", wanted)
    if typing.get_origin(wanted) is typing.Literal:
      shown = f"one of {typing.get_args(wanted)}"
    raise errors.ConfigError(
      f"{where}: {name} must be {shown}, not {errors.shown(value)}"
    )
  if isinstance(limits, Range):
    for one in value if isinstance(value, tuple) else (value,):
      if not limits.low <= one <= limits.high:
        raise errors.ConfigError(
          f"{where}: {name} must lie in [{limits.low}, {limits.high}], not"
          f" {errors.shown(one)}"
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
