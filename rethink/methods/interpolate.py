"""One run of `method = "interpolate"`: a linear system in place of training."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from configs import kernels as base
from rethink import (
  console,
  corruptions,
  errors,
  example,
  settings,
  signals,
  specs,
)
from rethink.fields import ranges
from rethink.kernels import (
  features,
  functions,
  interpolants,
  memory,
  preconditioners,
)
from rethink.kernels import fitting as kernel_interpolation
from rethink.methods import limits, method
from rethink.pipeline import run_data
from rethink.storage import runs


@dataclasses.dataclass(frozen=True)
class Settings:
  """Components looked up, everything else as it stands in the config.

  Attributes:
    config: the config itself, locked.
    features: steps, in order.
    kernel: function of two points.
    interpolant: which of the functions that fit.
    preconditioner: how K is solved.
    corruptions: in the order in which they act.
    outcome: the fields that change the result; JSON values.
    bookkeeping: the fields that do not.
  """

  config: Any  # an ml_collections.ConfigDict, whose fields are dynamic
  features: tuple[specs.Call, ...]
  kernel: specs.Call
  interpolant: specs.Call
  preconditioner: specs.Call
  corruptions: tuple[specs.Call, ...]
  outcome: Mapping[str, Any]
  bookkeeping: Mapping[str, Any]


def resolve(config: Any) -> Settings:
  """Checks a config and looks its components up.

  Raises:
    ConfigError: naming the field and what to do.
  """
  ranges.check(config, base.get_config())
  components = {
    "features": settings.calls(config, "features", features),
    "kernel": settings.call(config, "kernel", functions),
    "interpolant": settings.call(config, "interpolant", interpolants),
    "preconditioner": settings.call(config, "preconditioner", preconditioners),
    "corruptions": settings.calls(config, "corruptions", corruptions),
  }
  outcome, bookkeeping = settings.parts(config, components)
  return Settings(
    config=config, outcome=outcome, bookkeeping=bookkeeping, **components
  )


def execute(job: method.Job) -> None:
  """Solves the system and logs one row, with step and epoch 0.

  Nothing is saved on the way: a run that was interrupted begins again.

  Args:
    job: its stop flag is looked at before the solution begins, which it does
      not interrupt.

  Raises:
    RethinkError: if data, config or memory do not suffice, or the equations
      cannot be solved to the tolerance.
    PreemptedError: if asked to stop.
  """
  run_settings, directory, data_dir, stop = job
  config = run_settings.config
  with console.waiting(f"{directory.name}: reading {config.dataset}"):
    loaded = run_data.load_for_run(
      run_settings,
      directory,
      data_dir,
      change=lambda loaded: _hold_out(loaded, config.held_out),
    )
  directory.cut()
  changed = loaded.report["changed_fraction"]
  print(
    f"{directory.name}: {len(loaded.train.id):,} examples, labels changed"
    f" {changed:.1%}, {run_settings.kernel} on {jax.devices()[0].device_kind}"
    f"{console.seen(directory.status)}",
    flush=True,
  )
  limits.warn(directory.name, directory.status)
  signals.check(stop, directory)
  memory.reset_peak()
  began = time.monotonic()
  fitted = run_settings.interpolant(
    kernel_interpolation.Problem(
      example.center_crop(loaded.train.image, loaded.image_size),
      loaded.train.label,
      example.center_crop(loaded.test.image, loaded.image_size),
      loaded.test.true_label,
      loaded.info.num_classes,
      kernel=str(run_settings.kernel),
      steps=tuple(str(step) for step in run_settings.features),
      ridge=config.ridge,
      preconditioner=str(run_settings.preconditioner),
      tolerance=config.tolerance,
      max_rounds=config.max_rounds,
      tile=config.bookkeeping.tile_rows,
      spectrum_points=config.bookkeeping.spectrum_points,
    )
  )
  for name, arrays in fitted.curves.items():
    directory.log_curve(name, **arrays)
  report = {**fitted.report, "peak_gb": memory.peak_bytes() / 1e9}
  seconds = report.pop("seconds", {})
  row: runs.Row = {
    "step": 0,
    "epoch": 0,
    **_against(fitted.train, loaded.train, "train/", "train/true_"),
    **_against(fitted.test, loaded.test, "test/corrupted_", "test/"),
    "norm": report["norm"],
    "residual": report["residual"],
    "time/seconds": round(directory.seconds, 3),
    "time/solution_seconds": round(time.monotonic() - began, 3),
    **{f"time/{phase}_seconds": round(s, 3) for phase, s in seconds.items()},
  }
  directory.log(row)
  directory.update(
    step=0,
    epoch=0,
    devices=1,  # more would stand idle
    parameters=report["parameters"],
    interpolation=report,
  )


def _hold_out(
  loaded: run_data.RunData[example.Example], count: int
) -> run_data.RunData[example.Example]:
  """The first examples by id, a random choice, are tested on, not learned."""
  if not count:
    return loaded
  n = len(loaded.train.id)
  if count >= n:
    raise errors.ConfigError(
      f"config.held_out={count:,} leaves none of {n:,} training examples"
    )
  held, rest = np.split(np.arange(n), [count])
  return loaded._replace(
    train=loaded.train.take(rest), test=loaded.train.take(held)
  )


def _against(
  outputs: np.ndarray, examples: example.Example, learned: str, true: str
) -> dict[str, float]:
  """Returns accuracy and squared error for the given and the true labels."""
  row = {}
  for prefix, labels in (
    (learned, examples.label),
    (true, examples.true_label),
  ):
    one_hot = np.eye(outputs.shape[1])[labels]
    squares = np.sum((outputs - one_hot) ** 2, 1)
    row[f"{prefix}accuracy"] = float(np.mean(outputs.argmax(1) == labels))
    row[f"{prefix}squared_error"] = float(np.mean(squares))
  return row


METHOD = method.Method(resolve, execute, many_processes=False, pipelines=())
