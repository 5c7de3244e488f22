"""Reads config files: the names of their runs and their REPORT."""

import pathlib
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rethink import errors, experiments


class Source(NamedTuple):
  """An experiment to report.

  Attributes:
    stem: name of the config file without ".py", and of its folder of runs.
    smoke: whether to report the small variants of the runs.
    report: the tables, figures and verdicts to show.
    runs: names of the runs, those of small variants without "smoke/".
    get_config: returns the config of a run, given its name.
  """

  stem: str
  smoke: bool
  report: experiments.Report
  runs: tuple[str, ...]
  get_config: Callable[[str], Any]

  @property
  def name(self) -> str:
    """The name of this report's files, without the ending."""
    return f"{self.stem}-smoke" if self.smoke else self.stem

  @property
  def groups(self) -> tuple[str, ...]:
    """The names of runs without "/seed<k>", in the order of the config."""
    return tuple(dict.fromkeys(run.rpartition("/")[0] for run in self.runs))

  def folder(self, root: pathlib.Path) -> pathlib.Path:
    """Returns the folder below `root` (--runs) that holds the runs."""
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
      f"--config={text}: a report covers all runs of an experiment; leave out"
      f" :{selection}, or write :smoke for the small variants"
    )
  if not pathlib.Path(path).is_file():
    raise errors.ConfigError(f"--config={path}: there is no such file")
  module = experiments.load_module(pathlib.Path(path))
  if not hasattr(module, "REPORT"):
    raise errors.ConfigError(
      f"--config={path} declares no REPORT, so there is nothing to show"
    )
  return _source(pathlib.Path(path).stem, module, selection == "smoke")


def discover(folder: pathlib.Path, root: pathlib.Path) -> list[Source]:
  """Returns the experiments of a folder of configs that have runs in `root`.

  Raises:
    ConfigError: if none has runs.
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
      f"--runs={root} holds no runs of the experiments in {folder}/; run"
      " `python -m rethink.sweep` first, or name the folder that has them"
    )
  return found


def has_runs(source: Source, root: pathlib.Path) -> bool:
  """Returns whether any run of the experiment has been started."""
  folder = source.folder(root)
  return any((folder / run / "config.json").exists() for run in source.runs)


def split(texts: Sequence[str]) -> list[str]:
  """Splits comma-separated flag values into one list."""
  return [part for text in texts for part in text.split(",") if part]


def _source(stem: str, module: types.ModuleType, smoke: bool) -> Source:
  runs = tuple(
    run.removeprefix(experiments.SMOKE)
    for run in module.RUNS
    if run.startswith(experiments.SMOKE) == smoke
  )
  for plot in module.REPORT.figures:
    experiments.check_name(plot.key, "figure's")
  return Source(stem, smoke, module.REPORT, runs, module.get_config)
