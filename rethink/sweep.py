"""All runs of an experiment.

  python -m rethink.sweep --config=configs/demo.py
  python -m rethink.sweep --config=configs/table1_cifar10.py:smoke
  python -m rethink.sweep --config=configs/table1_cifar10.py --only='mlp_*' \\
    --seeds=3 -- dataset=cifar10_jpeg bookkeeping.platform=gpu

Runs lie in RUNS_DIR/<config>/<run>. Done ones are skipped, interrupted ones go
on, a failing one does not stop the others. Runs of equal architecture share
their compiled programs; the summary counts them.
"""

import os
import pathlib
import sys
import traceback
from typing import Any

from absl import app, flags

from rethink import cli, errors, experiments
from rethink.storage import files

_CONFIG = cli.define_config()
_RUNS = flags.DEFINE_string("runs", "runs", "Folder of run directories.")
_ONLY = flags.DEFINE_string("only", "*", "Pattern of run names, as in a shell.")
_SEEDS = flags.DEFINE_integer(
  "seeds", 1, "How many of the runs that differ in seed alone.", lower_bound=1
)
_INDEX = flags.DEFINE_integer(
  "index", 0, "Which share of the runs this job takes.", lower_bound=0
)
_COUNT = flags.DEFINE_integer(
  "count", 1, "How many jobs share the runs.", lower_bound=1
)
_LIST = flags.DEFINE_bool("list", False, "Name the runs, run nothing.")
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Say what would happen to each run, run nothing."
)
flags.DEFINE_alias("dry-run", "dry_run")
_DATA_DIR = cli.define_data_dir()
_DETERMINISTIC = cli.define_deterministic()
flags.adopt_module_key_flags(cli)  # so that --help shows them


def main(argv: list[str]) -> int:
  """Executes the runs one after the other in this process."""
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
      f"--only={_ONLY.value} matches none of: {', '.join(module.RUNS)}"
    )
  mine = names[_INDEX.value :: _COUNT.value]
  if not mine:
    print(f"nothing to do: {len(names)} runs, --count={_COUNT.value} jobs")
    return
  if _LIST.value:
    print("\n".join(mine))
    return
  stop = cli.configure_process(_DETERMINISTIC.value, _CONFIG.value.method)
  from rethink import compiled, console  # JAX, now that it is settled
  from rethink.methods import runner

  root = pathlib.Path(_RUNS.value) / stem
  if _DRY_RUN.value:
    for name in mine:
      print(f"{name}: {runner.outlook(_config(module, name), root / name)}")
    return
  data_dir = cli.data_dir(_DATA_DIR.value)
  failed, skipped = [], 0
  with compiled.CompilationCounter() as counter:
    for name in mine:
      try:
        config = _config(module, name)
        skipped += runner.outlook(config, root / name) == runner.DONE
        runner.execute(config, str(root / name), data_dir, stop, name)
      except (errors.PreemptedError, errors.DataError):
        raise  # neither gets better with the next run
      except errors.RethinkError as error:
        failed.append(name)
        print(f"rethink: {name}: {error}", file=sys.stderr, flush=True)
      except Exception:  # of a user's model, say, or out of memory
        failed.append(name)
        traceback.print_exc()
  # Also those of earlier selections and of other jobs, at the same scale.
  small = experiments.is_smoke(mine[0])
  known = [
    name
    for name in module.RUNS
    if experiments.is_smoke(name) == small
    and (name in mine or (root / name).exists())
  ]
  text = console.results_table([(name, root / name) for name in known])
  path = root / ("smoke.md" if small else "results.md")
  root.mkdir(parents=True, exist_ok=True)  # no run may have come so far
  files.write(path, text + "\n")
  print(f"\n{text}\n\nsaved in {os.path.relpath(path)}")
  print(
    f"{len(mine)} runs: {skipped} done before,"
    f" {len(mine) - skipped - len(failed)} done now, {len(failed)} failed;"
    f" {counter}"
  )
  if failed:
    raise errors.RethinkError(f"{len(failed)} failed: {', '.join(failed)}")


def _config(module: Any, name: str) -> Any:
  config = module.get_config(name)
  cli.apply_overrides(config)
  return config


if __name__ == "__main__":
  app.run(main, flags_parser=cli.parse_flags)
