"""Copies of run directories that a report can be made of again."""

import json
import pathlib
import shutil
from collections.abc import Iterable

from rethink import errors
from rethink.report import results
from rethink.storage import runs


def keep(loaded: Iterable[results.Results], folder: pathlib.Path) -> int:
  """Copies what reports read of all finished runs; says how many there are.

  States and per-example files stay behind. Of the command line only what it
  sets in the config is kept, as the rest names places of one machine.

  Args:
    loaded: the experiments.
    folder: gets <config>/<run>; runs that are there already are replaced.

  Raises:
    ConfigError: if the folder cannot be written, or holds the runs themselves.
  """
  kept = 0
  try:
    for experiment in loaded:
      if folder.resolve() == experiment.root.resolve():
        raise errors.ConfigError(f"--keep={folder} is the folder of --runs")
      for name in experiment.source.groups:
        for record in experiment.group(name).records:
          _copy(record, folder / record.workdir.relative_to(experiment.root))
          kept += 1
  except OSError as error:
    raise errors.ConfigError(
      f"--keep={folder} cannot be written: {error.strerror}"
    ) from None
  return kept


def _copy(record: runs.Record, path: pathlib.Path) -> None:
  shutil.rmtree(path, ignore_errors=True)
  path.mkdir(parents=True)
  argv = [
    text for text in record.status["argv"] if text.startswith("--config.")
  ]
  status = {**record.status, "argv": argv}
  status.pop("pid", None)  # of one machine, too
  (path / "status.json").write_text(json.dumps(status, indent=2) + "\n")
  for file in ("config.json", "metrics.jsonl"):
    shutil.copyfile(record.workdir / file, path / file)
  if (record.workdir / "curves").is_dir():
    shutil.copytree(record.workdir / "curves", path / "curves")
