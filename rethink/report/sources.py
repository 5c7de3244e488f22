"""Config files as what a report is made of: their runs and their REPORT."""

import pathlib
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rethink import errors, experiments


class Source(NamedTuple):
  """An experiment to report.

  Attributes:
    stem: of the config file; run directories lie under it.
    smoke: whether the small variants of the runs are meant.
    report: what to show.
    runs: names of the chosen runs, the small ones without "smoke/".
    get_config: the config of a run, by its full name.
  """

  stem: str
  smoke: bool
  report: experiments.Report
  runs: tuple[str, ...]
  get_config: Callable[[str], Any]

  @property
  def name(self) -> str:
    """What the files of this report are called."""
    return f"{self.stem}-smoke" if self.smoke else self.stem

  @property
  def groups(self) -> tuple[str, ...]:
    """Names of runs without "/seed<k>", in the order of the experiment."""
    return tuple(dict.fromkeys(run.rpartition("/")[0] for run in self.runs))

  def folder(self, root: pathlib.Path) -> pathlib.Path:
    """Where the run directories lie under --runs."""
    folder = root / self.stem
    return folder / experiments.SMOKE.rstrip("/") if self.smoke else folder


def from_flag(text: str) -> Source:
  """Reads `FILE.py` or `FILE.py:smoke`.

  Raises:
    ConfigError: if there is no such file, or it has no REPORT.
  """
  path, _, selection = text.partition(":")
  if selection not in ("", "smoke"):
    raise errors.ConfigError(
      f"--config={text}: a report is made of all runs; leave :{selection} out,"
      " or write :smoke"
    )
  if not pathlib.Path(path).is_file():
    raise errors.ConfigError(f"--config={path}: there is no such file")
  module = experiments.load_module(pathlib.Path(path))
  if not hasattr(module, "REPORT"):
    raise errors.ConfigError(f"--config={path} has no REPORT to make")
  return _source(pathlib.Path(path).stem, module, selection == "smoke")


def discover(folder: pathlib.Path, root: pathlib.Path) -> list[Source]:
  """All experiments of a folder of configs that have runs under `root`.

  Raises:
    ConfigError: if there is none.
  """
  found = []
  for path in sorted(folder.glob("*.py")):
    if not (root / path.stem).is_dir():
      continue
    module = experiments.load_module(path)
    if not hasattr(module, "REPORT"):
      continue
    for smoke in (False, True):
      source = _source(path.stem, module, smoke)
      if has_runs(source, root):
        found.append(source)
  if not found:
    raise errors.ConfigError(
      f"--runs={root} holds no run of an experiment in {folder}/; run"
      " python -m rethink.sweep first, or name the folder of its runs"
    )
  return found


def has_runs(source: Source, root: pathlib.Path) -> bool:
  """Whether any run of the experiment has a directory."""
  folder = source.folder(root)
  return any((folder / run / "config.json").exists() for run in source.runs)


def split(texts: Sequence[str]) -> list[str]:
  """Flag values, each a comma-separated list, as one list."""
  return [part for text in texts for part in text.split(",") if part]


def _source(stem: str, module: types.ModuleType, smoke: bool) -> Source:
  runs = tuple(
    run.removeprefix(experiments.SMOKE)
    for run in module.RUNS
    if run.startswith(experiments.SMOKE) == smoke
  )
  return Source(stem, smoke, module.REPORT, runs, module.get_config)
