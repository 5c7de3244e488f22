"""What the norm of an interpolating function says, and what it does not.

Section 5 of the paper: the norm of the min-norm solution does not predict
generalization; other functions that fit as well have larger norms.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from rethink import errors, specs
from rethink.kernels import gram, solver


def norms(coefficients: np.ndarray, fitted: np.ndarray) -> dict[str, float]:
  """The norm of a solution by every definition that the paper might mean.

  The paper gives 220 and 390 for MNIST and no formula. Of an interpolant of
  one-hot targets Y, the solutions for other codes of the labels follow without
  another factorization: those of a Y + b are a alpha + b (alpha 1).

  Args:
    coefficients: float64[n, classes], alpha = K^-1 Y without ridge.
    fitted: float64[n, classes], K alpha.

  Returns:
    `total`: sqrt(tr(Y' K^-1 Y)); `class_mean` and `class_max`: of the norms of
    the outputs; `centred_total`: for Y - 1/classes; `signed_total`: for 2 Y - 1
    (targets -1 and 1); `coefficients`: |alpha|, no norm of the function.
  """
  classes = coefficients.shape[1]
  ones, ones_fitted = (
    np.sum(a, 1, keepdims=True) for a in (coefficients, fitted)
  )

  def each(a: float, b: float) -> np.ndarray:
    alpha = a * coefficients + b * ones
    values = a * fitted + b * ones_fitted
    return np.sqrt(np.maximum(np.sum(alpha * values, 0), 0))

  one_hot = each(1, 0)
  return {
    "total": float(np.linalg.norm(one_hot)),
    "class_mean": float(one_hot.mean()),
    "class_max": float(one_hot.max()),
    "centred_total": float(np.linalg.norm(each(1, -1 / classes))),
    "signed_total": float(np.linalg.norm(each(2, -1))),
    "coefficients": float(np.linalg.norm(coefficients)),
  }


def spectrum(kernel: specs.Call, points: np.ndarray) -> np.ndarray:
  """Eigenvalues of K, largest first; of some thousand points, dense.

  Args:
    kernel: of `functions`, with its bandwidth.
    points: float32[n, d].

  Returns:
    float64[n]; values of rounding's size may be negative.
  """
  matrix = gram.PointGram(kernel, points)
  whole = matrix.columns(np.arange(len(points)))
  return np.linalg.eigvalsh((whole + whole.T) / 2)[::-1]


def by_labels(
  matrix: gram.Gram,
  labels: Mapping[Any, np.ndarray],
  test_points: np.ndarray,
  test_labels: np.ndarray,
  num_classes: int,
  **how: Any,
) -> dict[Any, dict[str, float]]:
  """Fits several labellings of the same points with one factorization.

  The corruption sweep of Belkin, Ma & Mandal (2018): labels by corruption
  probability.

  Args:
    matrix: K of the training points.
    labels: name -> int[n].
    test_points: as `matrix.predict` takes them.
    test_labels: int[m], true ones.
    num_classes: K of the data set.
    **how: to `solver.solve`.

  Returns:
    name -> train_error (against the labels learned), test_error, norm (total,
    as in `norms`) and residual (the largest of all names).
  """
  targets = [np.eye(num_classes)[values] for values in labels.values()]
  solution = solver.solve(matrix, np.hstack(targets), **how)
  outputs = matrix.predict(test_points, solution.coefficients)
  rows = {}
  for position, (name, values) in enumerate(labels.items()):
    part = slice(position * num_classes, (position + 1) * num_classes)
    fitted = solution.fitted[:, part]
    rows[name] = {
      "train_error": error(fitted, values),
      "test_error": error(outputs[:, part], test_labels),
      "norm": float(np.linalg.norm(solution.norms[part])),
      "residual": solution.residual,
    }
  return rows


def held_out_errors(
  kernels: Sequence[specs.Call],
  points: np.ndarray,
  labels: np.ndarray,
  num_classes: int,
  every: int = 5,
  **how: Any,
) -> list[float]:
  """The error of each kernel on training points that it did not learn.

  What a bandwidth may be chosen by; test points may not.

  Args:
    kernels: of `functions`, with their bandwidths.
    points: float32[n, d], of the training split.
    labels: int[n].
    num_classes: columns of the targets.
    every: each so many-th point is held out.
    **how: to `solver.solve`.

  Returns:
    An error for each kernel; inf where its equations could not be solved.
  """
  held = np.arange(len(points)) % every == 0
  targets = np.eye(num_classes)[labels[~held]]
  found = []
  for kernel in kernels:
    matrix = gram.PointGram(kernel, points[~held])
    try:
      solution = solver.solve(matrix, targets, **how)
    except errors.ConfigError:
      found.append(float("inf"))
      continue
    outputs = matrix.predict(points[held], solution.coefficients)
    found.append(error(outputs, labels[held]))
  return found


def error(outputs: np.ndarray, labels: np.ndarray) -> float:
  """The fraction of examples whose largest output is not the label's."""
  return float(np.mean(outputs.argmax(1) != labels))


class Interpolant(NamedTuple):
  """Another function of a kernel's space that fits the same points.

  Attributes:
    centres: float32[m, d]; f = sum_j coefficients_j k(centres_j, .).
    coefficients: float64[m, classes].
    norm: sqrt(tr(coefficients' K coefficients)) over the centres.
    residual: the largest |y_c - f_c| / |y_c| at the training points.
  """

  centres: np.ndarray
  coefficients: np.ndarray
  norm: float
  residual: float


def with_centres(
  kernel: specs.Call,
  points: np.ndarray,
  targets: np.ndarray,
  centres: np.ndarray,
) -> Interpolant:
  """Fits the points with kernel functions at other centres than the points.

  The first bad interpolant that section 5 names: centres at random points.
  Dense float64 in n x m memory; of the coefficients that fit, the shortest.

  Args:
    kernel: of `functions`, with its bandwidth.
    points: float32[n, d].
    targets: [n, classes].
    centres: float32[m, d]; n or more of them can fit any targets.
  """
  at_centres = gram.PointGram(kernel, centres)
  design = at_centres.predict(points, np.eye(len(centres)))
  coefficients, _, _, _ = scipy.linalg.lstsq(design, targets)
  misfit = np.linalg.norm(design @ coefficients - targets, axis=0)
  scale = np.linalg.norm(targets, axis=0)
  square = np.sum(coefficients * at_centres.product(coefficients))
  return Interpolant(
    centres,
    coefficients,
    float(np.sqrt(max(square, 0))),
    float(np.max(misfit / np.where(scale > 0, scale, 1))),
  )


def wrong_labels(labels: np.ndarray, num_classes: int, seed: int) -> np.ndarray:
  """Labels of which none is right, uniform over the other classes.

  The second bad interpolant that section 5 names fits the training points and
  is forced to be wrong on the test points: solve for both with these.
  """
  rng = np.random.default_rng(seed)
  return (labels + rng.integers(1, num_classes, len(labels))) % num_classes
