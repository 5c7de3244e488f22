"""Makes tables, figures and a page from the run directories of experiments.

  python -m rethink.report --config=configs/table1_cifar10.py
  python -m rethink.report --keep=reports/runs  # and keep small copies
  python -m rethink.report --out=reports --runs=reports/runs  # from the copies

Without --config, the report covers every experiment in configs/ that has runs.
It needs neither JAX nor data: copy the run directories to any machine. A report
that shows more runs than the new one is replaced only with --replace.
"""

import io
import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from rethink import cli, errors
from rethink.report import archive, examples, pages, results, sources

_CONFIG = flags.DEFINE_multi_string(
  "config",
  [],
  "Config file, or FILE:smoke for its small variants. Separate several with"
  " commas or repeat the flag. Default: every file in configs/ that has runs.",
)
_RUNS = cli.define_path(
  "runs", "runs", "Folder that holds the run directories."
)
_OUT = cli.define_path(
  "out",
  None,
  "Folder to write the report to. Default: runs/reports, and in it one folder"
  " for each choice of --config.",
)
_REPLACE = flags.DEFINE_bool(
  "replace", False, "Replace a report in --out even if it shows more runs."
)
_THRESHOLD = flags.DEFINE_float(
  "fit_threshold",
  None,
  "A run fits when its clean train loss, in nats, is at most this. Default: the"
  " threshold in the config.",
  lower_bound=0.0,
)
_EXAMPLES = cli.define_path(
  "export_examples",
  None,
  "CSV file to write: when each training example was first fitted, for the runs"
  " that logged their examples.",
)
_KEEP = cli.define_path(
  "keep",
  None,
  "Folder for small copies of the finished runs, without model weights. Use it"
  " as --runs=FOLDER to make the report again.",
)


def main(argv: list[str]) -> int:
  """Writes the report and returns the exit code of the process."""
  del argv
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):  # its encoding may lack a dash
      stream.reconfigure(errors="backslashreplace")
  return cli.exit_code(_report)


def _report() -> None:
  advice = "copy the runs to this machine with `gcloud storage cp -r`"
  for name, folder in (
    ("runs", _RUNS.value),
    ("out", _OUT.value or ""),
    ("keep", _KEEP.value or ""),
  ):
    cli.local_folder(name, folder, advice)
  root = pathlib.Path(_RUNS.value)
  if not root.is_dir():
    raise errors.ConfigError(f"--runs={root}: there is no such folder")
  named = sources.split(_CONFIG.value)
  chosen = (
    [sources.from_flag(os.path.expanduser(text)) for text in named]
    if named
    else sources.discover(pathlib.Path("configs"), root)
  )
  out = pathlib.Path(_OUT.value or _default_folder(chosen if named else []))
  loaded = [
    results.Results(source, root, _THRESHOLD.value) for source in chosen
  ]
  sections = [pages.build_section(experiment) for experiment in loaded]
  pages.write(sections, out, _REPLACE.value)
  for section in sections:
    print(f"{section.name}: {section.counts}")
    for verdict in section.verdicts:
      print(f"  {verdict.subject}: {verdict.answer}")
    for name, why in section.damaged.items():
      print(
        f"rethink: {section.name}: the report lacks {name}: {why}; restore the"
        " file, or delete the run directory and run it again",
        file=sys.stderr,
      )
  print(f"wrote {out / 'index.html'}")
  if _KEEP.value:
    kept = archive.keep(loaded, pathlib.Path(_KEEP.value))
    print(f"copied {kept} runs to {_KEEP.value}")
  if _EXAMPLES.value:
    written = examples.export(_EXAMPLES.value, loaded)
    print(f"wrote {written:,} examples to {_EXAMPLES.value}")


def _default_folder(chosen: Sequence[sources.Source]) -> str:
  """Returns a folder that holds nothing but reports of these experiments."""
  return "/".join(["runs/reports", "+".join(one.name for one in chosen)])


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
  cli.start(main, _parse)
