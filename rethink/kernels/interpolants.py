"""Every public function returns a function that fits the training labels.

Section 5 of the paper: infinitely many functions do. `min_norm` solves its
Eq. (3), `sgd` from zero ends at the same one, and `wrong_on_test` and
`random_centres` are the bad ones that it names and does not measure.
"""

from typing import Annotated

import numpy as np

from rethink import errors, specs
from rethink.kernels import (
  convolution,
  diagnostics,
  fitting,
  gram,
  linear_models,
  memory,
)

_Epochs = Annotated[int, specs.Range(1, 1e9)]


def min_norm(problem: fitting.Problem) -> fitting.Fitted:
  """The one of least norm; with a ridge, kernel ridge regression."""
  return fitting.interpolate(problem)


def wrong_on_test(problem: fitting.Problem, seed: int = 0) -> fitting.Fitted:
  """The one of least norm that is also wrong on every test image.

  Args:
    problem: without ridge.
    seed: draws the wrong labels.
  """
  _check_no_ridge(problem, "wrong_on_test")
  n = len(problem.train)
  wrong = diagnostics.wrong_labels(
    problem.test_labels, problem.num_classes, seed
  )
  both = fitting.interpolate(
    problem._replace(
      train=np.concatenate([problem.train, problem.test]),
      labels=np.concatenate([problem.labels, wrong]),
      test=problem.test[:1],  # fitted, not predicted
    )
  )
  return both._replace(train=both.train[:n], test=both.train[n:])


def random_centres(problem: fitting.Problem, seed: int = 0) -> fitting.Fitted:
  """Kernel functions at as many points of noise as there are training points.

  Noise is uniform between the least and the largest feature. Dense float64.

  Args:
    problem: without ridge.
    seed: draws the centres.
  """
  _check_no_ridge(problem, "random_centres")
  points, test = _points(problem)
  n = len(points)
  memory.check(lambda n: 6 * 8 * n**2, n, "random_centres()")
  kernel = gram.with_bandwidth(gram.parse(problem.kernel), points)
  noise = np.random.default_rng(seed).uniform(
    points.min(), points.max(), points.shape
  )
  targets = np.eye(problem.num_classes)[problem.labels]
  centres = noise.astype(np.float32)
  found = diagnostics.with_centres(kernel, points, targets, centres)
  elsewhere = gram.PointGram(kernel, centres)
  report = {
    "features": points.shape[1],
    "parameters": found.coefficients.size,
    "kernel": str(kernel),
    "norm": found.norm,
    "residual": found.residual,
  }
  train, outputs = (
    elsewhere.predict(rows, found.coefficients) for rows in (points, test)
  )
  return fitting.Fitted(train, outputs, report)


def sgd(
  problem: fitting.Problem,
  epochs: _Epochs = 400,
  learning_rate: Annotated[float, specs.Range(0.0, 2.0)] = 1.0,
  start: specs.NotNegative = 0.0,
  seed: int = 0,
) -> fitting.Fitted:
  """Stochastic gradient descent on least squares, as a linear model.

  The curve `sgd` has |w - w*| / |w*| after each epoch, w* the min-norm
  interpolant, and `hessian` the eigenvalues of the loss at any of them.

  Args:
    problem: with kernel linear(), more features than points, without ridge.
    epochs: passes over the points.
    learning_rate: see `linear_models.sgd`.
    start: standard deviation of the normal weights at the start; 0 is zero.
    seed: draws the start and the orders.
  """
  _check_no_ridge(problem, "sgd")
  points, test = _points(problem)
  (n, d), classes = points.shape, problem.num_classes
  if gram.parse(problem.kernel).name != "linear" or d < n:
    raise errors.ConfigError(
      f"config.interpolant: sgd() needs config.kernel='linear()' and more"
      f" features than points, not {problem.kernel!r} and {d:,} features of"
      f" {n:,} points"
    )
  rng = np.random.default_rng(seed)
  path = linear_models.sgd(
    points,
    np.eye(classes)[problem.labels],
    epochs=epochs,
    learning_rate=learning_rate,
    start=start * rng.normal(size=(d, classes)),
    seed=seed,
  )
  values = linear_models.hessian_spectrum(points)
  report = {
    "features": d,
    "parameters": path.weights.size,
    "kernel": problem.kernel,
    "norm": float(np.linalg.norm(path.weights)),
    "residual": float(path.residual[-1]),
    "distance": float(path.distance[-1]),
    "hessian_zeros": int(np.sum(values == 0)),
  }
  curves = {
    "sgd": dict(
      step=path.steps, distance=path.distance, residual=path.residual
    ),
    "hessian": dict(rank=np.arange(1, d + 1), value=values),
  }
  fitted, outputs = (rows @ path.weights for rows in (points, test))
  return fitting.Fitted(fitted, outputs, report, curves)


def _points(problem: fitting.Problem) -> tuple[np.ndarray, ...]:
  """float32[n, d] of training and test images, all features at once."""
  splits, filters = fitting.prepare(problem.steps, problem.train, problem.test)
  if filters is not None:
    splits = convolution.features(filters, *splits)
  return tuple(splits)


def _check_no_ridge(problem: fitting.Problem, name: str) -> None:
  if problem.ridge:
    raise errors.ConfigError(
      f"config.ridge must be 0 for config.interpolant={name + '()'!r}, not"
      f" {problem.ridge}"
    )
