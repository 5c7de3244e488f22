"""One run of `method = "construct(...)"`: a network built for a data set."""

import os
import time
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from rethink import (
  console,
  errors,
  evaluate,
  metric_names,
  metric_sums,
  models,
  settings,
  signals,
  specs,
)
from rethink.expressivity import (
  certificate,
  construct,
  deep,
  modules,
  projections,
)
from rethink.methods import eval_splits, limits, method
from rethink.pipeline import preprocess, resident, run_data
from rethink.storage import runs

_KINKS = 31  # of the function along the direction are kept for a figure


class Construction:
  """Builds, certifies and evaluates the network of a run.

  What is fitted is what a trained model would see: standardized images and the
  labels as corrupted. The evaluation is the trainer's, in float64.
  """

  def __init__(self, job: method.Job):
    """Loads the data.

    Args:
      job: its fields of models and training are not used.

    Raises:
      RethinkError: if data, config or run directory do not fit together.
    """
    run_settings, run, data_dir, stop = job
    self.config, self.run, self.stop = run_settings.config, run, stop
    if run_settings.regularizers:
      raise errors.ConfigError(
        "config.regularizers must be () for config.method='construct()', which"
        " trains nothing"
      )
    self._metrics = run_settings.metrics
    with console.waiting(f"{run.name}: reading {self.config.dataset}"):
      self.loaded = run_data.load_for_run(run_settings, run, data_dir)
    limits.warn(run.name, run.status)
    metric_sums.check(self._metrics, self.loaded.info.num_classes)
    run.cut()  # a build is never resumed: rows of an unfinished one go

  def build(self, depth: int, one_hot: bool) -> None:
    """Builds the network, saves it and logs its row.

    Args:
      depth: hidden layers of Corollary 1; 0 is Theorem 1.
      one_hot: an output for each class, instead of one that is the label.

    Raises:
      RethinkError: if the labels cannot be fitted, or somebody asks to stop.
    """
    train, classes = self.loaded.train, self.loaded.info.num_classes
    values = np.eye(classes)[train.label] if one_hot else train.label
    points = preprocess.on_host(
      train.image,
      self.loaded.image_size,
      self.config.eval_batch_size,
      self.config.normalize,
    )
    began = time.monotonic()
    network = construct.fit(
      points,
      values,
      depth or None,
      ids=train.id.tolist(),
      seed=self.config.seed,
    )
    built = time.monotonic() - began
    self._between()
    found = certificate.certify(network, points, values)
    certified = time.monotonic() - began - built
    if not found.holds:
      raise errors.DataError(
        "the network does not fit its points in float64:"
        f" {found.wrong_labels} wrong labels, largest error"
        f" {found.largest_error:.1e}; config.method with depth=0 is more exact"
      )
    self._between()
    module, params = modules.export(network, classes)
    with open(self.run.workdir / "network.npz.partial", "wb") as f:
      np.savez(f, allow_pickle=False, **params)
    os.replace(f.name, self.run.workdir / "network.npz")
    self.run.update(
      parameters=network.num_weights,
      certificate=found._asdict(),
      depth=len(network.layers) - 1,
      width=max(len(layer.bias) for layer in network.layers[:-1]),
      lipschitz_bound=network.lipschitz,  # and no more than that
      **models.norms(module, params),
    )
    if not one_hot:
      self._log_function(network)
    row = self._row(module, params)
    row |= {
      "time/build_seconds": round(built, 3),
      "time/certify_seconds": round(certified, 3),
      "time/seconds": round(self.run.seconds, 3),
    }
    self.run.log(row)
    self.run.update(step=0, epoch=0)
    print(
      f"{self.run.name}: {len(train.id):,} examples,"
      f" {network.num_weights:,} weights in {built:.1f} s, train accuracy"
      f" {row['train/accuracy']:.2%} ({row['train/float32_accuracy']:.2%} in"
      f" float32), test accuracy {row['test/accuracy']:.2%}"
      f"{console.seen(self.run.status)}",
      flush=True,
    )

  def _log_function(self, network) -> None:
    """Saves the piecewise linear function of <a, z> at neighbouring kinks."""
    if isinstance(network, deep.DeepNetwork):
      network = network.closed_form()
    b = network.thresholds
    first = max(0, (len(b) - _KINKS) // 2)
    x = b[first : first + _KINKS]
    values = network.along(projections.Projection(x, np.zeros_like(x)))
    self.run.log_curve("function", projection=x, value=values)

  def _row(self, module, params) -> runs.Row:
    sums = {}
    with jax.enable_x64():
      replicated, sharded = resident.shardings()
      for name, split in (
        ("float64", "train"),
        ("float64", "test"),
        ("float32", "train"),
      ):
        dtype = jnp.dtype(name)
        cast = evaluate.cast(jax.tree.map(jnp.asarray, dict(params)), dtype)
        static = evaluate.Static(
          module,
          self.loaded.info.num_classes,
          self.loaded.image_size,
          dtype,
          self.config.normalize,
          self._metrics,
        )
        found = evaluate.evaluate(
          eval_splits.ResidentSplit(
            static,
            resident.put(getattr(self.loaded, split), replicated),
            self.config.eval_batch_size,
            sharded,
          ),
          jax.device_put(cast, replicated),
          {},
          chunk_seconds=self.config.bookkeeping.chunk_seconds,
          between=self._between,
        )
        sums[name, split] = found.sums
    in_float32 = metric_sums.train_means(sums["float32", "train"])
    row: runs.Row = {
      "step": 0,
      "epoch": 0,
      **metric_sums.train_means(sums["float64", "train"]),
      **metric_sums.test_means(sums["float64", "test"]),
      "train/float32_accuracy": in_float32["train/accuracy"],
    }
    metric_names.check_finite(row, self._metrics)
    return row

  def _between(self) -> None:
    signals.check(self.stop, self.run)


def execute(
  job: method.Job,
  depth: Annotated[int, specs.Range(0, 10**4)] = 0,
  one_hot: bool = False,
) -> None:
  """Computes a network that fits all labels, without training (section 4).

  Args:
    job: the data, and the seed of the projection.
    depth: hidden layers, built by Corollary 1; 0 is Theorem 1.
    one_hot: an output for each class, instead of one that is the label.
  """
  Construction(job).build(depth, one_hot)


METHOD = method.Method(
  settings.resolve, execute, many_processes=False, pipelines=("resident",)
)
