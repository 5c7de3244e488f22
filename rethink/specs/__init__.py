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
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from rethink import errors
from rethink.specs import binding

Range = binding.Range
Fraction = binding.Fraction
Finite = binding.Finite
NotNegative = binding.NotNegative
Seed = binding.Seed
Size = binding.Size
Sizes = binding.Sizes
InputFile = binding.InputFile
signature = binding.signature

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
  try:
    return _read(text)
  except (MemoryError, RecursionError):  # of Python's parser
    raise ValueError("it is nested too deeply") from None


def _read(text: str) -> tuple[str, str, list[Any], list[tuple[str, Any]]]:
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
  own: bool = True,
  by_name: str = "",
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
    own: whether it may name a function of the user's own, which is imported.
    by_name: why a number without a name is refused: which number a user may
      mean that the package fills in; "" takes numbers by position.

  Raises:
    ConfigError: naming the field, what is wrong and what exists.
  """
  if not isinstance(text, str):
    raise errors.ConfigError(
      f"config.{field}: {errors.shown(text)} must be a call in quotes"
    )
  where = f"config.{field}: {errors.shown(text)}"
  try:
    path, name, args, pairs = read(text)
    ast.literal_eval(repr((args, pairs)))  # inf has no literal
    hash((tuple(args), tuple(pairs)))  # lists cannot name a program
  except (SyntaxError, TypeError, ValueError):
    raise errors.ConfigError(
      f"config.{field}: cannot read {errors.shown(text)}; write a call"
      ' with literal arguments, such as "name(0.5, flag=True)"'
    ) from None
  if path and not own:
    raise errors.ConfigError(
      f"{where} names a module, but this must be one of:"
      f" {errors.listed(sorted(known), name)}"
    )
  function = _own(path, name, field) if path else known.get(name)
  if function is None:
    near = errors.did_you_mean(name, known)
    hint = f" (your own: my.module:{name}(...))" if own else ""
    raise errors.ConfigError(
      f"config.{field}: there is no {name!r}{near}; there are:"
      f" {errors.listed(sorted(known), name)}{hint}"
    )
  if callable(leading):
    leading = leading(function)
  bound = binding.bind(function, args, pairs, where, leading, given, by_name)
  return Call(f"{path}:{name}" if path else name, function, bound)


def of_module(text: str, module: types.ModuleType, field: str) -> Call:
  """Reads a call of a public function of a module, or of the user's own.

  A module declares in LEADING what its functions get from the package first.

  Raises:
    ConfigError: as `parse` does.
  """
  return parse(text, public(module), field, getattr(module, "LEADING", ()))


def public(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
  """Returns the public functions that a module defines itself, by name."""
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
