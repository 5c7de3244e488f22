"""Trains one run: `python -m rethink.main --config=FILE --workdir=DIR`.

The same command resumes an interrupted run. Only the entry points (main, sweep,
report, prepare) define flags; everything else is a field of the config.
"""

import os

from absl import flags

from rethink import cli
from rethink.storage import buckets

_CONFIG = cli.define_config()
_WORKDIR = cli.define_path(
  "workdir",
  None,
  "Run directory, or gs://BUCKET/FOLDER. Default: runs/<config>/<run>, followed"
  " by the fields that the command line changes.",
)
_DATA_DIR = cli.define_data_dir()
_DETERMINISTIC = cli.define_deterministic()
_RESTART = flags.DEFINE_bool(
  "restart_from_scratch",
  False,
  "Move all saved states of the run to damaged/ and start at step 0.",
)
_PLATFORM = flags.DEFINE_enum(
  "platform",
  None,
  ["cpu", "gpu", "tpu"],
  "Stop with an error unless this device is available. Short for"
  " --config.bookkeeping.platform.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "HOST:PORT of process 0, for a run of several processes. Not needed on Cloud"
  " TPU, under Slurm or Open MPI, where the processes find each other.",
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "Number of processes of this run.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "Index of this process, from 0.", lower_bound=0
)
_INITIALIZATION_TIMEOUT = flags.DEFINE_float(
  "initialization_timeout",
  600.0,
  "Seconds to wait for all processes to join.",
  lower_bound=1,
)
_HEARTBEAT_TIMEOUT = flags.DEFINE_float(
  "heartbeat_timeout",
  100.0,
  "Seconds without a sign of life after which a process counts as dead and the"
  " others end.",
  lower_bound=1,
)
flags.adopt_module_key_flags(cli)  # so that --help shows them


def main(argv: list[str]) -> int:
  """Executes the run and returns the exit code of the process."""
  del argv

  def run() -> None:
    name, workdir = cli.run_name(), _WORKDIR.value
    if not workdir:  # each variation has its own
      name += cli.variation()
      workdir = os.path.join("runs", name)
    if not workdir.startswith(buckets.SCHEME):
      advice = "give a folder or gs://BUCKET/FOLDER; s3:// is not supported"
      cli.local_folder("workdir", workdir, advice)
    if _PLATFORM.value:
      _CONFIG.value.bookkeeping.platform = _PLATFORM.value
    stop = cli.configure_process(_DETERMINISTIC.value, _CONFIG.value.method)
    from rethink import console, distributed  # JAX starts after its settings
    from rethink.console import plain_tables
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
      print(plain_tables.fitted(console.results_table([(name, folder)])))

  code = cli.exit_code(run)
  from rethink import distributed

  distributed.leave(code)
  return code


if __name__ == "__main__":
  cli.start(main, cli.parse_flags)
