"""Rademacher complexity attained on subsets of a data set, as Markdown.

python -m benchmarks.rademacher --data_dir=DIR --dataset=cifar10
"""

import time

import numpy as np
from absl import app, flags

from rethink import complexity, datasets, provenance
from rethink.expressivity import construct

_DATASET = flags.DEFINE_string("dataset", "cifar10", "as prepared")
_DATA_DIR = flags.DEFINE_string("data_dir", "~/tensorflow_datasets", "")
_SIZES = flags.DEFINE_list("sizes", ["500", "2000", "4000", "8000"], "n")
_DRAWS = flags.DEFINE_integer("draws", 10, "sign vectors")


def _construction(points):
  return lambda signs: construct.fit(points, signs)(points)


def _linear(points):
  """Least squares with a constant, through one factorization for all signs."""
  flat = points.reshape(len(points), -1) / 255.0
  basis, values, _ = np.linalg.svd(
    np.concatenate([flat, np.ones((len(flat), 1))], axis=1),
    full_matrices=False,
  )
  basis = basis[:, values > 1e-10 * values[0]]
  return lambda signs: basis @ (basis.T @ signs)


def main(_) -> None:
  """Prints a row for each n and learner."""
  dataset = datasets.load(_DATASET.value, _DATA_DIR.value)
  print(f"commit {provenance.read()['commit'][:10]}\n")
  print("| learner | n | d | attained | 95 % interval | draws | seconds |")
  print("|---|---|---|---|---|---|---|", flush=True)
  for n in map(int, _SIZES.value):
    train = datasets.subset(
      dataset.splits["train"],
      n,
      0,
      dataset.info.num_classes,
      balanced=False,
    )
    for name, learner in (
      ("Theorem 1", _construction),
      ("linear, least squares", _linear),
    ):
      began = time.monotonic()
      found = complexity.rademacher(
        learner(train.image), train.id, draws=_DRAWS.value
      )
      print(
        f"| {name} | {n:,} | {train.image[0].size:,} | {found.mean:.4f}"
        f" | {found.low:.4f} to {found.high:.4f} | {_DRAWS.value}"
        f" | {time.monotonic() - began:.1f} |",
        flush=True,
      )


if __name__ == "__main__":
  app.run(main)
