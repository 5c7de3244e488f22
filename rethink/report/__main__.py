"""Tables, figures and a page of experiments, from their run directories.

  python -m rethink.report --config=configs/table1_cifar10.py --out=reports
  python -m rethink.report --out=reports --keep=reports/runs
  python -m rethink.report --out=reports --runs=reports/runs  # once more

Without --config all experiments in configs/ that have runs. Needs neither JAX
nor data: run directories can be copied to any machine.
"""

import pathlib
import sys

from absl import app, flags

from rethink import cli, errors
from rethink.report import archive, examples, pages, results, sources

_CONFIG = flags.DEFINE_multi_string(
  "config",
  [],
  "Config file, or FILE:smoke for its small variants; several by commas or by"
  " repeating the flag. By default all of configs/ that have runs.",
)
_RUNS = flags.DEFINE_string("runs", "runs", "Folder of run directories.")
_OUT = flags.DEFINE_string("out", "reports", "Folder to write to.")
_THRESHOLD = flags.DEFINE_float(
  "fit_threshold",
  None,
  "Clean train loss of a fit, in nats; by default the config's.",
  lower_bound=0.0,
)
_EXAMPLES = flags.DEFINE_string(
  "export_examples",
  None,
  "CSV file to write, when each training example was fitted; of runs that have"
  " logged it.",
)
_KEEP = flags.DEFINE_string(
  "keep",
  None,
  "Folder for copies of what the report reads of finished runs, without their"
  " states: --runs=FOLDER makes the report again.",
)


def main(argv: list[str]) -> int:
  """Writes the report; the exit code says how it ended."""
  del argv
  return cli.exit_code(_report)


def _report() -> None:
  copy = "bring the runs here with `gcloud storage cp -r`"
  for name, folder in (
    ("runs", _RUNS.value),
    ("out", _OUT.value),
    ("keep", _KEEP.value or ""),
  ):
    cli.local_folder(name, folder, copy)
  root, out = pathlib.Path(_RUNS.value), pathlib.Path(_OUT.value)
  if not root.is_dir():
    raise errors.ConfigError(f"--runs={root}: there is no such folder")
  named = sources.split(_CONFIG.value)
  chosen = (
    [sources.from_flag(text) for text in named]
    if named
    else sources.discover(pathlib.Path("configs"), root)
  )
  loaded = [
    results.Results(source, root, _THRESHOLD.value) for source in chosen
  ]
  sections = [pages.build_section(experiment) for experiment in loaded]
  pages.write(sections, out)
  for section in sections:
    print(f"{section.name}: {section.counts}")
    for verdict in section.verdicts:
      print(f"  {verdict.subject}: {verdict.answer}")
  print(f"written: {out / 'index.html'}")
  if _KEEP.value:
    kept = archive.keep(loaded, pathlib.Path(_KEEP.value))
    print(f"{kept} runs: {_KEEP.value}")
  if _EXAMPLES.value:
    written = examples.export(_EXAMPLES.value, loaded)
    print(f"{written:,} examples: {_EXAMPLES.value}")


def _parse(argv: list[str]) -> list[str]:
  try:
    rest = flags.FLAGS(argv)
    if len(rest) > 1:
      raise flags.Error(f"unexpected argument {rest[1]!r}")
    return rest
  except flags.Error as error:
    print(f"rethink: {error}", file=sys.stderr)
    sys.exit(errors.ConfigError.exit_code)


if __name__ == "__main__":
  app.run(main, flags_parser=_parse)
