"""What a run may be: `config.method` names one of `_METHODS`."""

from typing import Any

import jax

from rethink import (
  checkpoints,
  errors,
  interpolate,
  locks,
  loop,
  runs,
  settings,
  signals,
)


def train(
  run_settings: settings.Settings,
  run: runs.Run,
  data_dir: str,
  stop: signals.StopFlag,
) -> None:
  """Gradient descent on a network."""
  loop.Trainer(run_settings, run, data_dir, stop).train()


# How a config is read, and what is done with it.
_METHODS = {
  "train": (settings.resolve, train),
  "interpolate": (interpolate.resolve, interpolate.run),
}


def resolve(config) -> Any:
  """Checks a config and looks its components up; the method's own Settings.

  Raises:
    ConfigError: naming the field and what to do.
  """
  if config.method not in _METHODS:
    raise errors.ConfigError(
      f"config.method: there is no {config.method!r}; there are:"
      f" {', '.join(_METHODS)}"
    )
  return _METHODS[config.method][0](config)


def execute(
  config,
  workdir: str,
  data_dir: str,
  stop: signals.StopFlag,
  name: str = "",
  restart: bool = False,
) -> runs.Run:
  """Runs a config in its directory, from wherever it was left.

  Args:
    config: locked.
    workdir: the run directory.
    data_dir: where prepared data sets lie.
    stop: asks the run to save and leave.
    name: of the run, for people; by default the directory's.
    restart: set all saved states aside and start at step 0.

  Raises:
    RethinkError: the class says how it ended; status.json does, too.
  """
  run_settings = resolve(config)
  # Part of what a seed means; the environment must not change it.
  jax.config.update("jax_threefry_partitionable", True)
  with locks.hold(workdir) as lock:
    run = runs.Run(
      workdir,
      run_settings.outcome,
      run_settings.bookkeeping,
      name,
      restart,
      lock.check,
    )
    if run.done:
      print(f"{run.name} is done already ({workdir})", flush=True)
      return run
    run.start()
    try:
      if restart:
        checkpoints.restart(workdir)
      _METHODS[config.method][1](run_settings, run, data_dir, stop)
    except locks.LostError:
      raise  # the directory is another process's now
    except errors.PreemptedError as error:
      run.update(state="preempted", message=str(error))
      raise
    except errors.DivergedError as error:
      run.update(state="diverged", message=str(error))
      raise
    except BaseException as error:
      run.update(state="failed", message=f"{type(error).__name__}: {error}")
      raise
    # The states and their manifests are on disk: the method has closed them.
    run.update(state="done", message="")
  return run
