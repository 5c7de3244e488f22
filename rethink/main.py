"""One run: `python -m rethink.main --config=configs/cifar10.py --workdir=...`.

The same command again resumes the run. This file and the other entry points
(sweep, prepare) define the only flags there are; everything else is config.
"""

import os

from absl import app, flags

from rethink import cli
from rethink.storage import buckets

_CONFIG = cli.define_config()
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Run directory, or gs://BUCKET/FOLDER; by default runs/<config>/<run>.",
)
_DATA_DIR = cli.define_data_dir()
_DETERMINISTIC = cli.define_deterministic()
_RESTART = flags.DEFINE_bool(
  "restart_from_scratch",
  False,
  "Set all saved states of the run aside and start at step 0.",
)
_PLATFORM = flags.DEFINE_enum(
  "platform",
  None,
  ["cpu", "gpu", "tpu"],
  "Train there or not at all; short for --config.bookkeeping.platform.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "HOST:PORT of process 0, for a run of several processes; they find each other"
  " by themselves on Cloud TPU, under Slurm and Open MPI.",
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "Processes of this run.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "Which of them this is, from 0.", lower_bound=0
)
_INITIALIZATION_TIMEOUT = flags.DEFINE_float(
  "initialization_timeout",
  600.0,
  "Seconds until all processes must have come.",
  lower_bound=1,
)
_HEARTBEAT_TIMEOUT = flags.DEFINE_float(
  "heartbeat_timeout",
  100.0,
  "Seconds of silence after which a process counts as dead; the others end.",
  lower_bound=1,
)
flags.adopt_module_key_flags(cli)  # so that --help shows them


def main(argv: list[str]) -> int:
  """Executes the run; the exit code says how it ended."""
  del argv

  def run() -> None:
    name = cli.run_name()
    workdir = _WORKDIR.value or os.path.join("runs", name)
    if not workdir.startswith(buckets.SCHEME):
      other = "a bucket is gs://BUCKET/FOLDER, others (s3) are not supported"
      cli.local_folder("workdir", workdir, other)
    if _PLATFORM.value:
      _CONFIG.value.bookkeeping.platform = _PLATFORM.value
    stop = cli.configure_process(_DETERMINISTIC.value, _CONFIG.value.method)
    from rethink import console, distributed  # JAX, after the flags
    from rethink.methods import runner
    from rethink.storage import workdirs

    distributed.join(
      _COORDINATOR.value,
      _NUM_PROCESSES.value,
      _PROCESS_ID.value,
      _INITIALIZATION_TIMEOUT.value,
      _HEARTBEAT_TIMEOUT.value,
    )
    data_dir = cli.data_dir(_DATA_DIR.value)
    with workdirs.open_workdir(workdir) as folder:
      runner.execute(
        _CONFIG.value, folder, data_dir, stop, name, _RESTART.value
      )
      print(console.results_table([(name, folder)]))

  code = cli.exit_code(run)
  from rethink import distributed

  distributed.leave(code)
  return code


if __name__ == "__main__":
  app.run(main, flags_parser=cli.parse_flags)
