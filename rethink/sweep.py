"""Executes all runs of an experiment.

  python -m rethink.sweep --config=configs/demo.py
  python -m rethink.sweep --config=configs/table1_cifar10.py:smoke
  python -m rethink.sweep --config=configs/table1_cifar10.py --only='mlp_*' \\
    --seeds=3 -- dataset=cifar10_jpeg bookkeeping.platform=gpu

Run directories are RUNS_DIR/<config>/<run>. Finished runs are skipped,
interrupted ones are resumed, and a run that fails does not stop the others.
Runs of the same architecture share compiled programs; the summary counts those.
"""

import os
import pathlib
import sys
import traceback
from typing import Any

from absl import flags

from rethink import cli, errors, experiments
from rethink.storage import files, ownership

_CONFIG = cli.define_config()
_RUNS = cli.define_path(
  "runs", "runs", "Folder that holds the run directories."
)
_ONLY = flags.DEFINE_string("only", "*", "Shell-style pattern of run names.")
_SEEDS = flags.DEFINE_integer(
  "seeds", 1, "Seeds to run per configuration.", lower_bound=1
)
_INDEX = flags.DEFINE_integer(
  "index",
  0,
  "Index of this job, when several jobs share the runs.",
  lower_bound=0,
)
_COUNT = flags.DEFINE_integer(
  "count", 1, "Number of jobs that share the runs.", lower_bound=1
)
_LIST = flags.DEFINE_bool(
  "list", False, "Print the names of the runs and stop."
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Print what would be done for each run and stop."
)
flags.DEFINE_alias("dry-run", "dry_run")
_DATA_DIR = cli.define_data_dir()
_DETERMINISTIC = cli.define_deterministic()
flags.adopt_module_key_flags(cli)  # so that --help shows them


def main(argv: list[str]) -> int:
  """Executes the runs one after the other and returns the exit code."""
  del argv
  return cli.exit_code(_sweep)


def _sweep() -> None:
  cli.local_folder(
    "runs",
    _RUNS.value,
    "only rethink.main works in a bucket, one run at a time",
  )
  if _INDEX.value >= _COUNT.value:
    raise errors.ConfigError(
      f"--index={_INDEX.value} must be below --count={_COUNT.value}"
    )
  module = cli.experiment()
  stem, group = cli.config_name()
  names = experiments.choose(module.RUNS, group, _ONLY.value, _SEEDS.value)
  if not names:
    raise errors.ConfigError(
      f"--only={_ONLY.value} matches none of the runs:"
      f" {errors.listed(module.RUNS, _ONLY.value)} (--list shows all)"
    )
  mine = names[_INDEX.value :: _COUNT.value]
  if not mine:
    print(f"nothing to do: {len(names)} runs, --count={_COUNT.value} jobs")
    return
  if _LIST.value:
    print("\n".join(mine))
    return
  stop = cli.configure_process(_DETERMINISTIC.value, _CONFIG.value.method)
  from rethink import compiled, console  # JAX starts after its settings
  from rethink.console import plain_tables
  from rethink.methods import runner

  root = pathlib.Path(_RUNS.value) / stem
  if _DRY_RUN.value:
    for name in mine:
      print(f"{name}: {runner.outlook(_config(module, name), root / name)}")
    return
  small = experiments.is_smoke(mine[0])
  path = root / ("smoke.md" if small else "results.md")
  if path.exists() and not console.is_results_table(path):
    raise ownership.foreign(f"--runs={_RUNS.value}", [f"{stem}/{path.name}"])
  data_dir = cli.data_dir(_DATA_DIR.value)
  failed: dict[str, str] = {}
  skipped = 0
  with compiled.CompilationCounter() as counter:
    for number, name in enumerate(mine, 1):
      print(f"run {number} of {len(mine)}: {name}", flush=True)
      try:
        with errors.refusing_exit(name):
          config = _config(module, name)
          skipped += runner.outlook(config, root / name) == runner.DONE
          runner.execute(config, str(root / name), data_dir, stop, name)
      except (errors.PreemptedError, errors.DataError):
        raise  # the next run would end in the same way
      except errors.RethinkError as error:
        refused = isinstance(error, errors.ConfigError)
        failed[name] = "refused" if refused else "failed"
        print(f"rethink: {name}: {error}", file=sys.stderr, flush=True)
      except Exception:  # a bug in a user's model, or out of memory
        failed[name] = "failed"
        traceback.print_exc()
  # The table also shows the runs of earlier commands and of other jobs.
  known = [
    name
    for name in module.RUNS
    if experiments.is_smoke(name) == small
    and (name in mine or (root / name).exists())
  ]
  named = [(name, root / name) for name in known]
  text = console.results_table(named, failed)
  note = ""
  if "refused" in failed.values():
    note = "\n\nThe numbers of a refused run are those of an earlier one."
  if set(failed.values()) == {"refused"} and len(failed) == len(mine):
    print()  # a table would show earlier runs alone
  else:
    files.make_folder(root)  # all runs may have failed before this
    files.write(path, f"{text}{note}\n")
    print(f"\n{plain_tables.fitted(text)}{note}")
    print(f"\nsaved in {os.path.relpath(path)}")
  print(
    f"{len(mine)} runs: {skipped} done before,"
    f" {len(mine) - skipped - len(failed)} done now, {len(failed)} failed;"
    f" {counter}"
  )
  if failed:
    raise errors.RethinkError(
      f"{len(failed)} runs failed: {errors.listed(failed)}"
    )


def _config(module: Any, name: str) -> Any:
  config = module.get_config(name)
  cli.apply_overrides(config)
  return config


if __name__ == "__main__":
  cli.start(main, cli.parse_flags)
