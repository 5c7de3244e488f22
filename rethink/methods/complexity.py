"""One run of `method = "complexity(...)"`: a learner fits random signs."""

import time
from typing import Annotated

from rethink import console, errors, settings, signals, specs
from rethink.expressivity import rademacher
from rethink.methods import learners, limits, method
from rethink.pipeline import preprocess, run_data


def execute(
  job: method.Job,
  learner: str = "network()",
  draws: Annotated[int, specs.Range(2, 10**6)] = 10,
) -> None:
  """Fits sign vectors to the training images and logs one row.

  Nothing is saved on the way: a run that was interrupted begins again.

  Args:
    job: its config's seed draws the signs; its model and training are those of
      the learner `network()`.
    learner: a call of a public function of `rethink.methods.learners`.
    draws: sign vectors, at least 2.

  Raises:
    RethinkError: if data, config or memory do not suffice, or a learner
      diverges.
    PreemptedError: if asked to stop.
  """
  run_settings, directory, data_dir, stop = job
  call = specs.of_module(learner, learners, "method: learner")
  config = run_settings.config
  if run_settings.metrics:
    raise errors.ConfigError(
      "config.metrics must be () for config.method='complexity()', which logs"
      " correlations"
    )
  with console.waiting(f"{directory.name}: reading {config.dataset}"):
    loaded = run_data.load_for_run(run_settings, directory, data_dir)
  run_settings = settings.with_image_size(run_settings, loaded.image_size)
  limits.warn(directory.name, directory.status)
  directory.cut()
  images, ids = loaded.train.image, loaded.train.id
  points = preprocess.on_host(
    images, loaded.image_size, config.eval_batch_size, config.normalize
  )
  signs = rademacher.signs(ids, draws, config.seed)

  def between() -> None:
    signals.check(stop, directory)

  between()
  began = time.monotonic()
  fitted = call(
    learners.Context(
      run_settings, images, points.reshape(len(points), -1), signs, between
    )
  )
  found = rademacher.estimate(signs, fitted.values)
  directory.log(
    {
      "step": 0,
      "epoch": 0,
      "correlation": found.mean,
      "correlation_low": found.low,
      "correlation_high": found.high,
      **fitted.facts,
      "time/fit_seconds": round(time.monotonic() - began, 3),
      "time/seconds": round(directory.seconds, 3),
    }
  )
  directory.update(
    step=0,
    epoch=0,
    parameters=fitted.parameters,
    correlations=found.correlations.tolist(),
  )
  print(
    f"{directory.name}: {call} on {len(ids):,} examples attains a correlation"
    f" of {found.mean:.4f} ({found.low:.4f} to {found.high:.4f}, {draws} sign"
    f" vectors){console.seen(directory.status)}",
    flush=True,
  )


METHOD = method.Method(
  settings.resolve, execute, many_processes=False, pipelines=("resident",)
)
