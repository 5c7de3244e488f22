"""What the norm of an interpolating function says, and what it does not.

Section 5 of the paper: the norm of the min-norm solution does not predict
generalization; other functions that fit as well have larger norms.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from rethink import specs
from rethink.kernels import gram


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
