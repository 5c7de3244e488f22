"""Small copies of run directories from which a report can be made again."""

import json
import pathlib
import shutil
from collections.abc import Iterable

from rethink import errors
from rethink.report import results
from rethink.storage import runs


def keep(loaded: Iterable[results.Results], folder: pathlib.Path) -> int:
  """Copies the files that reports read, for all finished runs.

  Saved states and per-example files are left out. Of each recorded command line
  only the config overrides are kept, because the other arguments name folders
  of one machine.

  Args:
    loaded: the experiments whose runs are copied.
    folder: receives <config>/<run>; copies that exist are replaced.

  Returns:
    The number of copied runs.

  Raises:
    ConfigError: if the folder cannot be written, or is the folder of --runs.
  """
  kept = 0
  try:
    for experiment in loaded:
      if folder.resolve() == experiment.root.resolve():
        raise errors.ConfigError(
          f"--keep={folder} is the folder of --runs; give another one"
        )
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
  status.pop("pid", None)  # means nothing on another machine
  (path / "status.json").write_text(json.dumps(status, indent=2) + "\n")
  for file in ("config.json", "metrics.jsonl"):
    shutil.copyfile(record.workdir / file, path / file)
  if (record.workdir / "curves").is_dir():
    shutil.copytree(record.workdir / "curves", path / "curves")
