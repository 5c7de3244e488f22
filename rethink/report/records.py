"""Copies of run directories that a report can be made of again."""

import json
import pathlib
import shutil
from collections.abc import Iterable

from rethink import errors
from rethink.report import results


def keep(found: Iterable[results.Results], folder: pathlib.Path) -> int:
  """Copies what reports read of all finished runs; says how many there are.

  States and per-example files stay behind. Of the command line only what it
  sets in the config is kept, as the rest names places of one machine.

  Args:
    found: the experiments.
    folder: gets <config>/<run>; runs that are there already are replaced.

  Raises:
    ConfigError: if the folder cannot be written.
  """
  kept = 0
  try:
    for one in found:
      for name in dict.fromkeys(r.rpartition("/")[0] for r in one.source.runs):
        for record in one.group(name).records:
          path = folder / record.workdir.relative_to(one.root)
          path.mkdir(parents=True, exist_ok=True)
          status = dict(record.status)
          status.pop("pid")
          status["argv"] = [
            text for text in status["argv"] if text.startswith("--config.")
          ]
          text = json.dumps(status, indent=2) + "\n"
          (path / "status.json").write_text(text)
          for file in ("config.json", "metrics.jsonl"):
            shutil.copyfile(record.workdir / file, path / file)
          if (record.workdir / "curves").is_dir():
            shutil.copytree(
              record.workdir / "curves", path / "curves", dirs_exist_ok=True
            )
          kept += 1
  except OSError as error:
    raise errors.ConfigError(
      f"--keep={folder} cannot be written: {error.strerror}"
    ) from None
  return kept
