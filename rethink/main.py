"""One run: `python -m rethink.main --config=configs/cifar10.py --workdir=...`.

The same command again resumes the run. This file and the other entry points
(sweep, prepare) define the only flags there are; everything else is config.
"""

import os

from absl import app, flags

from rethink import entry

_CONFIG = entry.define_config()
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Run directory; by default runs/<config>/<run>."
)
_DATA_DIR = entry.define_data_dir()
_DETERMINISTIC = entry.define_deterministic()
_RESTART = flags.DEFINE_bool(
  "restart_from_scratch",
  False,
  "Set all saved states of the run aside and start at step 0.",
)
flags.adopt_module_key_flags(entry)  # so that --help shows them


def main(argv: list[str]) -> int:
  """Executes the run; the exit code says how it ended."""
  del argv

  def run() -> None:
    name = entry.run_name()
    workdir = _WORKDIR.value or os.path.join("runs", name)
    stop = entry.settle(_DETERMINISTIC.value, _CONFIG.value.method)
    from rethink import methods, summary  # JAX, after the flags are settled

    data_dir = entry.data_dir(_DATA_DIR.value)
    methods.execute(
      _CONFIG.value, workdir, data_dir, stop, name, _RESTART.value
    )
    print(summary.table([(name, workdir)]))

  return entry.exit_code(run)


if __name__ == "__main__":
  app.run(main, flags_parser=entry.parse_flags)
