"""Prints the tables of docs/expressivity.md: networks built for random labels.

  python -m benchmarks.expressivity --data_dir=DIR --dataset=cifar10
  python -m benchmarks.expressivity --random_points=1281167

The output is Markdown. The second command needs no data set: it uses random
bytes of 3,072 dimensions, made block by block whenever they are read, and
labels of 1,000 classes.
"""

import resource
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from rethink import corruptions, evaluate, example
from rethink.expressivity import (
  certificate,
  construct,
  layers,
  modules,
  shallow,
)
from rethink.pipeline import datasets
from rethink.storage import provenance

_DATASET = flags.DEFINE_string(
  "dataset", "cifar10", "name of a prepared data set"
)
_DATA_DIR = flags.DEFINE_string("data_dir", "~/tensorflow_datasets", "")
_DEPTHS = flags.DEFINE_list("depths", ["2", "10", "100", "1000"], "hidden")
_RANDOM_POINTS = flags.DEFINE_integer(
  "random_points", 0, "number of random points to use instead of a data set"
)


class RandomImages:
  """n random byte vectors, made anew at each read instead of being stored."""

  _CHUNK = 1024

  def __init__(self, n: int, d: int):
    self.shape = (n, d)

  def __getitem__(self, index: slice) -> np.ndarray:
    n, d = self.shape
    first, start = divmod(index.start, self._CHUNK)
    stop = min(index.stop, n) - first * self._CHUNK
    chunks = [
      np.random.default_rng([0, first + c]).integers(
        0, 256, (self._CHUNK, d), np.uint8
      )
      for c in range(-(-stop // self._CHUNK))
    ]
    return np.concatenate(chunks)[start:stop]


def _measure(name, points, values, depth, rational):
  """Builds and certifies a network, prints its row and returns it."""
  began, busy = time.monotonic(), time.process_time()
  network = construct.fit(points, values, depth)
  built, built_busy = time.monotonic(), time.process_time()
  found = certificate.certify(network, points, values, rational)
  width = len(network.thresholds) if depth is None else network.width
  assert found.holds, found
  print(
    f"| {name} | {found.points:,} | {width:,} | {found.num_weights:,}"
    f" | {found.wrong_labels} | {found.largest_error:.1e}"
    f" | {found.rational_error:.1e} | {built - began:.1f}"
    f" | {time.monotonic() - built:.1f} | {built_busy - busy:.1f}"
    f" | {time.process_time() - built_busy:.1f} |",
    flush=True,
  )
  return network


def _header():
  print(f"commit {provenance.read()['commit'][:10]}, {jax.devices()[0]}\n")
  print(
    "| network | n | width | weights | wrong labels | largest error"
    " | rational | built (s) | certified (s) | built (CPU s) | certified (CPU"
    " s) |\n|---|---|---|---|---|---|---|---|---|---|---|",
    flush=True,
  )


def _midpoints(network, points, labels):
  """Solves for thresholds between the points, in plain float64."""
  x = points.reshape(len(points), -1).astype(np.float64) @ network.direction
  order = np.argsort(x)
  x, y = x[order], labels[order].astype(np.float64)
  b = np.concatenate([[2 * x[0] - x[1]], (x[:-1] + x[1:]) / 2])
  slope = offset = 0.0  # c(x) = slope x - offset
  weights = []
  for i in range(len(x)):
    w = (y[i] - (slope * x[i] - offset)) / (x[i] - b[i])
    weights.append(w)
    slope, offset = slope + w, offset + w * b[i]
  weights = np.array(weights)
  made = shallow.Network(network.direction, b, weights[:, None])
  return made, _plain(made, x) - y


def _plain(network, x):
  """Evaluates the plain ReLU sum in float64 at projections x[n]."""
  return np.concatenate(
    [
      layers.forward(network.layers, x[None, start : start + 512])[0]
      for start in range(0, len(x), 512)
    ]
  )


def _precisions(network, images, labels, num_classes):
  """Prints the accuracy of the exported module in three precisions."""
  module, params = modules.export(network, num_classes)
  with jax.enable_x64():
    for name in ("float64", "float32", "bfloat16"):
      dtype = jnp.dtype(name)
      cast = evaluate.cast(jax.tree.map(jnp.asarray, params), dtype)
      run = jax.jit(
        lambda p, z, dtype=dtype: evaluate.logits(
          module, p, {}, z, dtype
        ).argmax(axis=1)
      )
      right = [
        np.asarray(run(cast, images[start : start + 500]))
        == labels[start : start + 500]
        for start in range(0, len(images), 500)
      ]
      accuracy = np.concatenate(right).mean()
      distinct = len(
        np.unique(
          (images.reshape(len(images), -1) @ network.direction).astype(dtype)
        )
      )
      print(
        f"| {name} | {accuracy:.2%} | {len(images) - distinct:,} |",
        flush=True,
      )


def main(_) -> None:
  """Prints the tables."""
  if n := _RANDOM_POINTS.value:
    _header()
    labels = np.random.default_rng(1).integers(0, 1000, n)
    points = RandomImages(n, 3072)
    network = _measure("Theorem 1", points, labels, None, [0])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    gaps = np.diff(network.thresholds[1:])
    print(
      f"\nsmallest gap {gaps.min() / np.ptp(network.thresholds[1:]):.1e} of"
      f" the range, largest weight {np.abs(network.weights).max():.1e}, peak"
      f" memory {memory:.1f} GiB"
    )
    return
  dataset = datasets.load(_DATASET.value, _DATA_DIR.value)
  info = dataset.info
  context = example.Context(0, info, info.shape[0])
  train, test = dataset.splits["train"], dataset.splits["test"]
  labels, _ = corruptions.random_labels(train.id, train.label, context)
  images = train.image
  _header()
  one_hot = np.eye(info.num_classes)[labels]
  some = [0, 1, 2]
  network = _measure("Theorem 1", images, labels, None, some)
  _measure(f"Theorem 1, K = {info.num_classes}", images, one_hot, None, some)
  for depth in map(int, _DEPTHS.value):
    _measure(f"Corollary 1, k = {depth:,}", images, labels, depth, some)
  gaps = np.diff(network.thresholds[1:])
  x = images.reshape(len(images), -1).astype(np.float64) @ network.direction
  made, errors = _midpoints(network, images, labels)
  print("\n| thresholds | arithmetic | largest weight | largest error |")
  print("|---|---|---|---|")
  for thresholds, arithmetic, error, net in (
    ("at the points", "exact sums", network(images) - labels, network),
    ("at the points", "plain float64", _plain(network, x) - labels, network),
    ("midpoints", "plain float64", errors, made),
  ):
    print(
      f"| {thresholds} | {arithmetic} | {np.abs(net.weights).max():.1e}"
      f" | {np.abs(error).max():.1e} |"
    )
  print("\n| Flax module in | labels right | projections that collide |")
  print("|---|---|---|", flush=True)
  _precisions(network, images, labels, info.num_classes)
  clean = np.rint(network(test.image)) == test.true_label
  print(
    f"\nsmallest gap {gaps.min() / np.ptp(network.thresholds[1:]):.1e} of the"
    f" range; Lipschitz constant {network.lipschitz:.2e} (pixels 0 to 255);"
    f" |w|_2 {np.linalg.norm(network.weights):.2e}; accuracy on"
    f" {len(clean):,} clean test examples {clean.mean():.2%}"
  )


if __name__ == "__main__":
  app.run(main)
