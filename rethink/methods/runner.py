"""Runs a config in its run directory and records how that ended."""

import contextlib
import dataclasses
import functools
import importlib
import json
import os
import pkgutil
from typing import Any

import jax

from rethink import errors, signals, specs
from rethink.methods.method import Job, Method
from rethink.storage import (
  checkpoints,
  continuations,
  locks,
  runs,
  user_sources,
  workdirs,
)

# Of a run directory: what steers a run besides its state.
_RECORDS = ("config.json", "status.json", "metrics.jsonl")
NEW, DONE, REFUSED = "new", "done", "of another config, would be refused"
LONGER = "of fewer epochs, would go on"
# What status.json says of a run that ended with an error.
_STATES = {
  errors.PreemptedError: "preempted",
  errors.DivergedError: "diverged",
}


def resolve(config: Any) -> tuple[Method, specs.Call, Any]:
  """Looks up the method of a config and checks the config with it.

  Returns:
    The method, the call that `config.method` is, and the method's settings.

  Raises:
    ConfigError: naming the field and what to do.
  """
  found = _methods()
  known = {name: one.execute for name, one in found.items()}
  call = specs.parse(
    config.method, known, "method", leading=("job",), own=False
  )
  chosen = found[call.name]
  run_settings = chosen.resolve(config)
  text = str(call) if call.kwargs else call.name
  outcome = {**run_settings.outcome, "method": text}
  own = user_sources.read(outcome)
  if own:
    outcome[user_sources.FIELD] = user_sources.digests(own)
  return chosen, call, dataclasses.replace(run_settings, outcome=outcome)


@functools.cache
def _methods() -> dict[str, Method]:
  """Returns the methods of this package; a module's name is the method's."""
  modules = (
    importlib.import_module(f"rethink.methods.{found.name}")
    for found in pkgutil.iter_modules([os.path.dirname(__file__)])
    if f"rethink.methods.{found.name}" != __name__
  )
  return {
    module.__name__.rpartition(".")[2]: module.METHOD
    for module in modules
    if hasattr(module, "METHOD")
  }


def outlook(config, workdir: str | os.PathLike) -> str:
  """Returns what `execute` would find: a state, NEW, REFUSED or LONGER."""
  record = runs.read(workdir)
  method, _, run_settings = resolve(config)
  if not (record.status and record.config):
    return NEW
  outcome = json.loads(json.dumps(run_settings.outcome))
  going_on = continuations.compare(
    record, outcome, lambda: method.refuse_longer(run_settings)
  )
  if going_on.differences:
    return REFUSED if runs.has_begun(record) else NEW
  return LONGER if going_on.longer else record.status["state"]


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
  method, call, run_settings = resolve(config)
  # Part of what a seed means; the environment must not change it.
  jax.config.update("jax_threefry_partitionable", True)
  _check_platform(config.bookkeeping.platform)
  _check_pipeline(method, call, config)
  if jax.process_count() > 1 and not method.many_processes:
    raise errors.ConfigError(
      f"config.method {call.name!r} runs in one process; start one, or use"
      " config.method='train', which several processes can share"
    )
  with locks.acquire(workdir) as lock:
    workdirs.copy_from_first(workdir, _RECORDS)
    run = runs.Run(
      workdir,
      run_settings.outcome,
      run_settings.bookkeeping,
      name,
      restart,
      lock.check,
      lambda: method.refuse_longer(run_settings),
    )
    if run.done:
      print(f"{run.name} is done already ({workdir})", flush=True)
      return run
    run.start()
    run.update(method=call.name)
    try:
      if restart:
        checkpoints.restart(workdir)
      method.execute(Job(run_settings, run, data_dir, stop), **call.kwargs)
    except locks.LostError:
      raise  # the directory is another process's now
    except BaseException as error:
      state = _STATES.get(type(error), "failed")
      with contextlib.suppress(errors.RethinkError):  # the disk may be full
        run.update(state=state, message=f"{type(error).__name__}: {error}")
      raise
    # The states and their manifests are on disk: the method has closed them.
    run.update(state=DONE, message="")
  return run


def _check_pipeline(method: Method, call: specs.Call, config: Any) -> None:
  if method.pipelines and config.pipeline not in method.pipelines:
    raise errors.ConfigError(
      f"config.pipeline is {config.pipeline!r}, but {call.name!r} needs all"
      f" images in memory: {' or '.join(map(repr, method.pipelines))}"
    )


def _check_platform(wanted: str) -> None:
  """A run of days should not start on the CPU because a driver is missing."""
  try:
    found = jax.default_backend()
  except RuntimeError as error:
    raise errors.ConfigError(
      f"JAX cannot use its devices: {errors.reason(error)}; does another"
      " process hold them, is JAX_PLATFORMS right?"
    ) from None
  if wanted and found != wanted:
    raise errors.ConfigError(
      f"config.bookkeeping.platform asks for {wanted!r}, but JAX runs on"
      f" {found!r}; install its support (see README, Accelerators),"
      " free the device, or leave the field empty"
    )
