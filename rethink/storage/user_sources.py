"""The source of the user's own modules, which is a part of what a run is.

A component such as "my_models:Net(depth=3)" names a module of the user's own.
Its file, and the files of what it imports from the user's own folders, are read
once, when a run is resolved: neither those of installed packages and Python nor
those of this package, whose versions and commit are recorded.
"""

import ast
import difflib
import functools
import importlib.machinery
import pathlib
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from rethink import bits, specs
from rethink.storage import files

FOLDER = "sources"  # of a run directory
FIELD = "sources"  # of the outcome
_SHOWN_LINES = 20
_INSTALLED = ("site-packages", "dist-packages")


class Source(NamedTuple):
  """A file of the user's own.

  Attributes:
    path: where it lies.
    content: as it was when it was first asked for.
  """

  path: pathlib.Path
  content: bytes


def read(outcome: Mapping[str, Any]) -> dict[str, Source]:
  """Returns the files that the components of a config are made of.

  Args:
    outcome: components in text; also calls inside calls are looked at.

  Returns:
    "my_package/layers.py" to the file; {} without modules of the user's own.
  """
  named = sorted(set(_modules(list(outcome.values()))))
  found = ((name, _find(name)) for name in named)
  roots = tuple((name, path) for name, path in found if path is not None)
  return dict(_closure(roots))


def digests(sources: Mapping[str, Source]) -> dict[str, str]:
  """Returns the digest of each file."""
  return {name: bits.digest(one.content) for name, one in sources.items()}


def keep(
  workdir: pathlib.Path, config: Mapping[str, Any]
) -> list[pathlib.Path]:
  """Copies the files of a run to its directory; returns where they lie.

  Those of a run that was begun without them are not copied: they may be others.
  """
  sources = read(config["outcome"])
  for name, one in sources.items():
    copy = workdir / FOLDER / name
    if FIELD in config["outcome"]:
      copy.parent.mkdir(parents=True, exist_ok=True)
      files.write(copy, one.content)
  return [one.path for one in sources.values()]


def differences(
  old: Mapping[str, str],
  new: Mapping[str, str],
  kept: pathlib.Path,
  sources: Mapping[str, Source],
) -> list[str]:
  """Returns what has changed in the user's files, a short diff for each.

  Args:
    old: name to digest, as a run began.
    new: name to digest, now.
    kept: the folder with the copies that the run made.
    sources: the files now.
  """
  lines = []
  for name in sorted({*old, *new}):
    if name not in new:
      lines.append(f"{name}: no longer imported")
    elif name not in old:
      lines.append(f"{name}: was not imported before")
    elif old[name] != new[name]:
      lines.append(f"{name} has been edited since ({sources[name].path}):")
      lines += _diff(kept / name, sources[name].content)
  return lines


def _diff(kept: pathlib.Path, content: bytes) -> list[str]:
  try:
    before = kept.read_text(encoding="utf-8").splitlines()
    after = content.decode().splitlines()
  except (OSError, UnicodeDecodeError):
    return []
  lines = difflib.unified_diff(before, after, "before", "now", "", "", 1, "")
  shown = list(lines)
  if len(shown) > _SHOWN_LINES:
    rest = len(shown) - _SHOWN_LINES
    shown = [*shown[:_SHOWN_LINES], f"... and {rest} lines more"]
  return [f"  {line}" for line in shown]


def _modules(values: Iterable[Any]) -> Iterator[str]:
  """Yields the modules that the calls among some values name."""
  for value in values:
    if isinstance(value, (list, tuple)):
      yield from _modules(value)
    elif isinstance(value, str) and "(" in value:
      try:
        path, _, args, pairs = specs.read(value)
      except (SyntaxError, TypeError, ValueError):
        continue
      if path:
        yield path
      yield from _modules([*args, *(inner for _, inner in pairs)])


@functools.cache
def _closure(
  roots: tuple[tuple[str, pathlib.Path], ...],
) -> tuple[tuple[str, Source], ...]:
  """Files of modules and of what they import, read once in a process."""
  found, waiting = {}, dict(roots)
  while waiting:
    name, path = waiting.popitem()
    if name in found or not _is_own(path):
      continue
    found[name] = source = Source(path, path.read_bytes())
    for other in _imported(name, source):
      place = _find(other)
      if place is not None:
        waiting[other] = place
  named = {_file_name(name, one.path): one for name, one in found.items()}
  return tuple(sorted(named.items()))


def _file_name(module: str, path: pathlib.Path) -> str:
  """Returns a name that says nothing of the folder in which a user works."""
  last = module.rpartition(".")[2]
  inside = path.name.partition(".")[0] != last  # __init__.py of a package
  return module.replace(".", "/") + (f"/{path.name}" if inside else path.suffix)


def _imported(name: str, source: Source) -> Iterator[str]:
  """Yields the modules that a file imports anywhere, and their packages."""
  try:
    tree = ast.parse(source.content)
  except (SyntaxError, ValueError):  # a compiled module
    return
  package = name if source.path.stem == "__init__" else name.rpartition(".")[0]
  names = [name]
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      above = package.split(".")[: -(node.level - 1) or None]
      base = [*(above if node.level else []), *filter(None, [node.module])]
      names += [".".join([*base, alias.name]) for alias in node.names]
    elif isinstance(node, ast.Call) and node.args:
      function, first = node.func, node.args[0]
      called = getattr(function, "attr", getattr(function, "id", ""))
      if called in ("import_module", "__import__"):
        names += [str(getattr(first, "value", ""))]
  for found in names:
    parts = found.split(".")
    yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def _find(module: str) -> pathlib.Path | None:
  """Returns the file of a module, which is not imported for this."""
  file = getattr(sys.modules.get(module), "__file__", None)
  if file is None and all(module.split(".")):
    spec, parts, folders = None, module.split("."), None
    for n in range(1, len(parts) + 1):
      name = ".".join(parts[:n])
      spec = importlib.machinery.PathFinder.find_spec(name, folders)
      if spec is None:
        return None
      folders = spec.submodule_search_locations
    file = spec.origin if spec and spec.has_location else None
  path = pathlib.Path(file).resolve() if file else None
  return path if path is not None and path.is_file() else None


@functools.cache
def _not_own() -> tuple[pathlib.Path, ...]:
  paths = sysconfig.get_paths()
  named = [paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")]
  named += [*site.getsitepackages(), site.getusersitepackages()]
  package = pathlib.Path(__file__).resolve().parent.parent
  return (package, *(pathlib.Path(path).resolve() for path in named))


def _is_own(path: pathlib.Path) -> bool:
  if not set(_INSTALLED).isdisjoint(path.parts):
    return False
  return not any(path.is_relative_to(folder) for folder in _not_own())
