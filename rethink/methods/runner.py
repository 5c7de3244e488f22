"""What a run may be: `config.method` is a call of one of `_METHODS`."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax

from rethink import errors, settings, signals, specs
from rethink.methods import complexity as complexity_method
from rethink.methods import construct as construct_method
from rethink.methods import interpolate as interpolate_method
from rethink.methods import train as train_method
from rethink.storage import checkpoints, fingerprints, locks, runs, workdirs


def train(
  run_settings: settings.Settings,
  run: runs.Run,
  data_dir: str,
  stop: signals.StopFlag,
) -> None:
  """Gradient descent on a network."""
  train_method.Trainer(run_settings, run, data_dir, stop).train()


def construct(
  run_settings: settings.Settings,
  run: runs.Run,
  data_dir: str,
  stop: signals.StopFlag,
  depth: int = 0,
  one_hot: bool = False,
) -> None:
  """A network that is computed, not trained (section 4): Theorem 1.

  Args:
    run_settings: data and seed; the fields of models and training say nothing.
    run: the open run directory.
    data_dir: where prepared data sets lie.
    stop: asks to leave.
    depth: hidden layers, built by Corollary 1; 0 is Theorem 1.
    one_hot: an output for each class, instead of one that is the label.
  """
  building = construct_method.Construction(run_settings, run, data_dir, stop)
  building.build(depth, one_hot)


def complexity(
  run_settings: settings.Settings,
  run: runs.Run,
  data_dir: str,
  stop: signals.StopFlag,
  learner: str = "network()",
  draws: int = 10,
) -> None:
  """How well a learner fits random signs of the examples (section 2.2).

  Args:
    run_settings: data, seed, and the model and training of `network()`.
    run: the open run directory.
    data_dir: where prepared data sets lie.
    stop: asks to leave.
    learner: a call of a public function of `rethink.methods.learners`.
    draws: sign vectors, at least 2.
  """
  complexity_method.run(run_settings, run, data_dir, stop, learner, draws)


def interpolate(
  run_settings: interpolate_method.Settings,
  run: runs.Run,
  data_dir: str,
  stop: signals.StopFlag,
) -> None:
  """A kernel or linear model that solves one linear system (section 5)."""
  interpolate_method.run(run_settings, run, data_dir, stop)


# How a config is read for a method, and what is done with it then.
_METHODS: Mapping[str, tuple[Callable, Callable]] = {
  "train": (settings.resolve, train),
  "construct": (settings.resolve, construct),
  "complexity": (settings.resolve, complexity),
  "interpolate": (interpolate_method.resolve, interpolate),
}
_LEADING = ("run_settings", "run", "data_dir", "stop")
# Of a run directory: what steers a run besides its state.
_RECORDS = ("config.json", "status.json", "metrics.jsonl")
NEW, DONE, REFUSED = "new", "done", "of another config, would be refused"
# What status.json says of a run that ended with an error.
_STATES = {
  errors.PreemptedError: "preempted",
  errors.DivergedError: "diverged",
}


def resolve(config) -> tuple[specs.Call, Any]:
  """The method that a config names, and its settings: the config understood.

  Raises:
    ConfigError: naming the field and what to do.
  """
  known = {name: run for name, (_, run) in _METHODS.items()}
  method = specs.parse(config.method, known, "method", leading=_LEADING)
  run_settings = _METHODS[method.name][0](config)
  text = str(method) if method.kwargs else method.name
  outcome = {**run_settings.outcome, "method": text}
  return method, dataclasses.replace(run_settings, outcome=outcome)


def outlook(config, workdir: str | os.PathLike) -> str:
  """What `execute` would find: the state of a run, NEW or REFUSED."""
  record = runs.read(workdir)
  _, run_settings = resolve(config)
  if not (record.status and record.config):
    return NEW
  if record.config["fingerprint"] != fingerprints.fingerprint(
    run_settings.outcome
  ):
    return REFUSED if runs.has_begun(record) else NEW
  return record.status["state"]


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
  method, run_settings = resolve(config)
  # Part of what a seed means; the environment must not change it.
  jax.config.update("jax_threefry_partitionable", True)
  _check_platform(config.bookkeeping.platform)
  if method.name in ("construct", "complexity"):
    _check_resident(config)
  if jax.process_count() > 1 and method.name != "train":
    raise errors.ConfigError(
      f"config.method {method.name!r} is for one process; only 'train' shares"
      " a run among several"
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
    )
    if run.done:
      print(f"{run.name} is done already ({workdir})", flush=True)
      return run
    run.start()
    try:
      if restart:
        checkpoints.restart(workdir)
      method(run_settings, run, data_dir, stop)
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


def _check_resident(config) -> None:
  if config.pipeline != "resident":
    raise errors.ConfigError(
      f"config.pipeline is {config.pipeline!r}, but {config.method!r} needs all"
      " images in memory: 'resident'"
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
