"""Interpolants: every public function computes one, as `config.interpolant`.

Infinitely many functions fit the training labels (section 5 of the paper).
`min_norm` solves its Eq. (3), and `sgd` from zero ends at the same function.
`wrong_on_test` and `random_centres` are the bad ones that the paper names but
does not measure.
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

# What every public function gets first, by position.
LEADING = ("problem",)

_Epochs = Annotated[int, specs.Range(1, 1e9)]


def min_norm(problem: fitting.Problem) -> fitting.Fitted:
  """Computes the interpolant of least norm; with a ridge, ridge regression."""
  return fitting.interpolate(problem)


def wrong_on_test(
  problem: fitting.Problem, seed: specs.Seed = 0
) -> fitting.Fitted:
  """Computes the interpolant of least norm that is wrong on all test images.

  Args:
    problem: must have ridge 0.
    seed: chooses the wrong labels.
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
      test=problem.test[:1],  # test images are fitted; one fills the field
    )
  )
  return both._replace(train=both.train[:n], test=both.train[n:])


def random_centres(
  problem: fitting.Problem, seed: specs.Seed = 0
) -> fitting.Fitted:
  """Interpolates with kernel functions centred at noise, one per example.

  The noise is uniform between the smallest and the largest feature value. Uses
  dense float64 matrices.

  Args:
    problem: must have ridge 0.
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
  at_centres = gram.PointGram(kernel, centres)
  report = {
    "features": points.shape[1],
    "parameters": found.coefficients.size,
    "kernel": str(kernel),
    "norm": found.norm,
    "residual": found.residual,
  }
  train, outputs = (
    at_centres.predict(rows, found.coefficients) for rows in (points, test)
  )
  return fitting.Fitted(train, outputs, report)


def sgd(
  problem: fitting.Problem,
  epochs: _Epochs = 400,
  learning_rate: Annotated[float, specs.Range(0.0, 2.0)] = 1.0,
  start: specs.NotNegative = 0.0,
  seed: specs.Seed = 0,
) -> fitting.Fitted:
  """Trains a linear model by stochastic gradient descent on least squares.

  The curve `sgd` has |w - w*| / |w*| after each epoch, where w* is the min-norm
  interpolant. The curve `hessian` has the eigenvalues of the loss's Hessian,
  which are the same at every interpolant.

  Args:
    problem: kernel linear(), at least as many features as points, ridge 0.
    epochs: passes over the points.
    learning_rate: see `linear_models.sgd`.
    start: standard deviation of the normally distributed initial weights; 0
      starts from zero.
    seed: draws the initial weights and the order of the points in each epoch.
  """
  _check_no_ridge(problem, "sgd")
  points, test = _points(problem)
  (n, d), classes = points.shape, problem.num_classes
  if gram.parse(problem.kernel).name != "linear" or d < n:
    raise errors.ConfigError(
      "config.interpolant: sgd() needs config.kernel='linear()' and at least as"
      f" many features as points, not {problem.kernel!r} and {d:,} features for"
      f" {n:,} points; set config.kernel, or reduce config.train_examples"
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
  """Returns all features of training and test images, each float32[n, d]."""
  splits, filters = fitting.prepare(problem.steps, problem.train, problem.test)
  if filters is not None:
    splits = convolution.features(filters, *splits)
  return tuple(splits)


def _check_no_ridge(problem: fitting.Problem, name: str) -> None:
  if problem.ridge:
    raise errors.ConfigError(
      f"config.ridge must be 0 with config.interpolant={name + '()'!r}, not"
      f" {problem.ridge}"
    )
