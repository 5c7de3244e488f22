"""Functions that fit the same labels, their norms and their errors.

  python benchmarks/interpolants.py --data_dir=DIR [--n=3000]

Section 5 of the paper on Fashion-MNIST pixels and the kernel
exp(-0.02 |x - z|^2): corrupted labels, centres elsewhere, a fit forced to be
wrong on the test points, SGD from zero and from elsewhere, the Hessian's zeros,
and random convolutional features through the point where they equal the
training points in number. One JSON value a line.
"""

import argparse
import json

import numpy as np

from rethink import corruptions, datasets, errors, example
from rethink.kernels import gram, interpolation, linear, measures, solver

TEST_POINTS = 2000
SGD_POINTS = 300
SNAPSHOTS = [0, 1, 10, 100, 400]  # epochs
FEW_POINTS = 1000
FILTERS = (10, 30, 60, 90, 110, 120, 124, 130, 180, 250, 500, 1000)


def show(what, **facts):
  print(json.dumps({"what": what, **facts}), flush=True)


def pixels(examples):
  flat = examples.image.reshape(len(examples.image), -1)
  return flat.astype(np.float32) / 255


def corruption(train, test, context):
  """Belkin, Ma & Mandal (2018): two kernels, true labels to random ones."""
  labels = {
    p: corruptions.partially_corrupted_labels(train, context, p)[0].label
    for p in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
  }
  for text in ("gaussian(bandwidth=5.0)", "laplacian()"):
    kernel = gram.with_bandwidth(gram.parse(text), pixels(train))
    matrix = gram.PointGram(kernel, pixels(train), hold=True)
    rows = measures.by_labels(matrix, labels, pixels(test), test.true_label, 10)
    for p, row in rows.items():
      show("corruption", kernel=str(kernel), p=p, **row)


def bad(train, others, test):
  """The interpolants that the paper names and does not measure."""
  kernel = gram.parse("gaussian(bandwidth=5.0)")
  x, z, y = pixels(train), pixels(test), np.eye(10)[train.label]

  best = solver.solve(gram.PointGram(kernel, x, hold=True), y)
  show("best", **measures.norms(best.coefficients, best.fitted))
  noise = np.random.default_rng(0).random(x.shape).astype(np.float32)
  for name, centres in (("other images", pixels(others)), ("noise", noise)):
    found = measures.with_centres(kernel, x, y, centres)
    outputs = gram.PointGram(kernel, centres).predict(z, found.coefficients)
    show(
      f"centres: {name}",
      norm=found.norm,
      residual=found.residual,
      test_error=measures.error(outputs, test.true_label),
    )
  wrong = measures.wrong_labels(test.true_label, 10, seed=0)
  both = gram.PointGram(kernel, np.vstack([x, z]), hold=True)
  found = solver.solve(both, np.vstack([y, np.eye(10)[wrong]]))
  show(
    "forced wrong on the test points",
    norm=found.report()["norm"],
    train_error=measures.error(found.fitted[: len(x)], train.label),
    test_error=measures.error(found.fitted[len(x) :], test.true_label),
  )
  values = measures.spectrum(kernel, x)
  show("spectrum", **{str(k): values[k] for k in (0, 9, 99, 999, len(x) - 1)})


def sgd(train):
  x, y = pixels(train)[:SGD_POINTS], np.eye(10)[train.label[:SGD_POINTS]]
  elsewhere = np.random.default_rng(0).normal(size=(x.shape[1], 10))
  for name, start in (("zero", None), ("elsewhere", elsewhere)):
    path = linear.sgd(x, y, epochs=SNAPSHOTS[-1], start=start)
    show(
      f"sgd from {name}",
      steps=path.steps[SNAPSHOTS].tolist(),
      distance=path.distance[SNAPSHOTS].tolist(),
      residual=path.residual[SNAPSHOTS].tolist(),
    )
  values = linear.hessian_spectrum(x)
  show("hessian", features=len(values), zeros=int(np.sum(values == 0)))


def wavelets(train, test):
  """Pixels against their Gabor transform: a larger norm, a smaller error."""
  for steps, kernel in (
    ((), "gaussian(bandwidth=5.0)"),
    (("gabor()",), "gaussian()"),
  ):
    fitted = interpolation.interpolate(
      train.image,
      train.label,
      test.image,
      10,
      kernel=kernel,
      steps=steps,
    )
    show(
      "wavelets",
      steps=steps,
      kernel=fitted.report["kernel"],
      norm=fitted.report["norm"],
      train_error=measures.error(fitted.train, train.label),
      test_error=measures.error(fitted.test, test.true_label),
    )


def filters(train, test):
  """Least squares below, the min-norm interpolant above the peak."""
  for count in FILTERS:
    try:
      fitted = interpolation.interpolate(
        train.image,
        train.label,
        test.image,
        10,
        kernel="linear()",
        steps=(f"random_convolution(filters={count})",),
        preconditioner="cholesky('float64')",
        tolerance=1e-6,
      )
    except errors.ConfigError as error:
      show("filters", filters=count, error=str(error))
      continue
    show(
      "filters",
      filters=count,
      features=fitted.report["features"],
      norm=fitted.report["norm"],
      train_error=measures.error(fitted.train, train.label),
      test_error=measures.error(fitted.test, test.true_label),
    )


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data_dir", required=True)
  parser.add_argument("--n", type=int, default=3000)
  args = parser.parse_args()
  found = datasets.load("fashion_mnist", args.data_dir)

  def some(split, n):
    examples = found.splits[split]
    return datasets.subset(examples, n, 0, 10, balanced=False)

  train, test = some("train", args.n), some("test", TEST_POINTS)
  others = some("train", 2 * args.n)
  others = others.take(~np.isin(others.id, train.id))
  corruption(train, test, example.Context(0, found.info, 28))
  bad(train, others, test)
  sgd(train)
  few = some("train", FEW_POINTS)
  wavelets(few, test)
  filters(few, test)


if __name__ == "__main__":
  main()
