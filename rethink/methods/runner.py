"""Runs a config in its run directory and records how that ended."""

import contextlib
import dataclasses
import functools
import importlib
import json
import os
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import jax

from rethink import distributed, errors, signals, specs
from rethink.methods.method import Job, Method
from rethink.storage import (
  checkpoints,
  continuations,
  locks,
  ownership,
  provenance,
  runs,
  schema,
  user_sources,
  workdirs,
)

# Of a run directory: what steers a run besides its state.
_RECORDS = (schema.CONFIG, schema.STATUS, schema.METRICS)
# Bookkeeping in which the processes of a run may differ: it is of one machine,
# or process 0's alone. All else they must agree on.
_OWN = (
  "cache_dir",
  "fit_threshold",
  "platform",
  "progress",
  "stream_threads",
  "stream_workers",
  "tensorboard",
  "wandb_project",
)
NEW, DONE, REFUSED = "new", "done", "of another config, would be refused"
LONGER = "of fewer epochs, would go on"
FOREIGN = "the directory is not a run's, would be refused"
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
  """Returns what `execute` would find: a state, NEW, LONGER, or why not."""
  if ownership.owner(workdir) is ownership.Owner.SOMEBODY:
    return FOREIGN
  method, _, run_settings = resolve(config)
  try:
    record = runs.read(workdir)
  except schema.RecordError as error:
    return f"damaged, would be refused: {error}"
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
  with _explaining_loss(), contextlib.ExitStack() as stack:
    with distributed.together("start"):
      method, call, run_settings = _check_start(config)
      if distributed.is_first():
        ownership.check(workdir, "workdir")
    distributed.require_equal(
      _decisions(run_settings, restart), "config of the run"
    )
    wanted = locks.acquire(workdir, lambda: stop.name)
    lock = workdirs.enter(stack, wanted, "lock the run directory")
    workdirs.copy_from_first(workdir, _RECORDS)
    with distributed.together("open the run"):
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
    stop.clean_up = lambda: _leave_at_once(run, lock)
    stack.callback(setattr, stop, "clean_up", lambda: None)
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


def _leave_at_once(run: runs.Run, lock: locks.Lock) -> None:
  """Leaves the directory of a run that ends in the middle of its work."""
  run.update(
    state="preempted",
    message="ended at once by a second Ctrl-C; the work since the last save is"
    " done again",
  )
  lock.release()


def _check_start(config: Any) -> tuple[Method, specs.Call, Any]:
  """Checks all that can be checked before a byte is written; as `resolve`."""
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
  return method, call, run_settings


def _decisions(run_settings: Any, restart: bool) -> dict[str, Any]:
  """Returns all that decides what a process does next, by name."""
  book = {k: v for k, v in run_settings.bookkeeping.items() if k not in _OWN}
  return {
    **{f"config.{k}": v for k, v in run_settings.outcome.items()},
    **{f"config.bookkeeping.{k}": v for k, v in book.items()},
    "--restart_from_scratch": restart,
    "versions of packages": provenance.packages(),
  }


@contextlib.contextmanager
def _explaining_loss() -> Iterator[None]:
  """Turns what JAX raises when another process is gone into one sentence."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    gone = re.search("[Gg]loo|[Cc]onnection|[Cc]oordinat|peer", str(error))
    if jax.process_count() == 1 or not gone:
      raise
    raise errors.RethinkError(
      "another process of this run has ended or failed, its own message says"
      f" why ({errors.reason(error):.80}); run the same command again in all"
      " processes"
    ) from None


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
