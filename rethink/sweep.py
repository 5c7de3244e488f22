"""All runs of an experiment.

  python -m rethink.sweep --config=configs/demo.py

Runs lie in RUNS_DIR/<config>/<run>. Done ones are skipped, interrupted ones go
on, a failing one does not stop the others.
"""

import fnmatch
import os
import pathlib
import sys
import traceback

from absl import app, flags

from rethink import entry, errors

_CONFIG = entry.define_config()
_RUNS = flags.DEFINE_string("runs", "runs", "Folder of run directories.")
_ONLY = flags.DEFINE_string("only", "*", "Pattern of run names, as in a shell.")
_DATA_DIR = entry.define_data_dir()
_DETERMINISTIC = entry.define_deterministic()
flags.adopt_module_key_flags(entry)  # so that --help shows them


def main(argv: list[str]) -> int:
  """Executes the runs one after the other in this process."""
  del argv
  return entry.exit_code(_sweep)


def _sweep() -> None:
  stop = entry.settle(_DETERMINISTIC.value)
  module = entry.config_module()
  names = fnmatch.filter(module.RUNS, _ONLY.value)
  if not names:
    raise errors.ConfigError(
      f"--only={_ONLY.value} matches none of: {', '.join(module.RUNS)}"
    )
  from rethink import methods, summary  # JAX, after the flags are settled

  root = pathlib.Path(_RUNS.value) / entry.config_name()[0]
  data_dir = entry.data_dir(_DATA_DIR.value)
  failed = []
  for name in names:
    config = module.get_config(name)
    entry.apply_overrides(config)
    try:
      methods.execute(config, str(root / name), data_dir, stop, name)
    except (errors.PreemptedError, errors.DataError):
      raise  # neither gets better with the next run
    except errors.RethinkError as error:
      failed.append(name)
      print(f"rethink: {name}: {error}", file=sys.stderr, flush=True)
    except Exception:  # of a user's model, say, or out of memory
      failed.append(name)
      traceback.print_exc()
  known = [n for n in module.RUNS if n in names or (root / n).exists()]
  text = summary.table([(name, root / name) for name in known])
  (root / "results.md").write_text(text + "\n")
  print(f"\n{text}\n\nsaved in {os.path.relpath(root / 'results.md')}")
  if failed:
    raise errors.RethinkError(f"{len(failed)} failed: {', '.join(failed)}")


if __name__ == "__main__":
  app.run(main, flags_parser=entry.parse_flags)
