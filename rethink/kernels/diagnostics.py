"""Norms of interpolating functions, spectra, and badly behaved interpolants.

Section 5 of the paper: the norm of the min-norm solution does not predict
generalization, and other functions with larger norms fit just as well.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from rethink import specs
from rethink.kernels import gram


def norms(coefficients: np.ndarray, fitted: np.ndarray) -> dict[str, float]:
  """Returns the norm of a solution by each definition the paper may mean.

  The paper gives 220 and 390 for MNIST and no formula. The solution alpha for
  one-hot targets Y also gives the solutions for other codings of the labels,
  without another factorization: a Y + b is fitted by a alpha + b (alpha 1).

  Args:
    coefficients: float64[n, classes], alpha = K^-1 Y without ridge.
    fitted: float64[n, classes], K alpha.

  Returns:
    `total`: sqrt(tr(Y' K^-1 Y)); `class_mean` and `class_max`: mean and maximum
    over the norms of the single outputs; `centred_total`: the total for targets
    Y - 1/classes; `signed_total`: the total for targets 2 Y - 1, which are -1
    and 1; `coefficients`: |alpha|, which is not a norm of the function.
  """
  classes = coefficients.shape[1]
  ones, ones_fitted = (
    np.sum(a, 1, keepdims=True) for a in (coefficients, fitted)
  )

  def class_norms(a: float, b: float) -> np.ndarray:
    alpha = a * coefficients + b * ones
    values = a * fitted + b * ones_fitted
    return np.sqrt(np.maximum(np.sum(alpha * values, 0), 0))

  one_hot = class_norms(1, 0)
  return {
    "total": float(np.linalg.norm(one_hot)),
    "class_mean": float(one_hot.mean()),
    "class_max": float(one_hot.max()),
    "centred_total": float(np.linalg.norm(class_norms(1, -1 / classes))),
    "signed_total": float(np.linalg.norm(class_norms(2, -1))),
    "coefficients": float(np.linalg.norm(coefficients)),
  }


def spectrum(kernel: specs.Call, points: np.ndarray) -> np.ndarray:
  """Returns the eigenvalues of K, largest first.

  Forms the full matrix in float64: use it for a few thousand points at most.

  Args:
    kernel: call of a function of `functions`, with its bandwidth.
    points: float32[n, d].

  Returns:
    float64[n]; eigenvalues as small as the rounding error may be negative.
  """
  matrix = gram.PointGram(kernel, points)
  dense = matrix.columns(np.arange(len(points)))
  return np.linalg.eigvalsh((dense + dense.T) / 2)[::-1]


class Interpolant(NamedTuple):
  """A function f = sum_j coefficients_j k(centres_j, .) and how well it fits.

  Attributes:
    centres: float32[m, d].
    coefficients: float64[m, classes].
    norm: sqrt(tr(coefficients' K coefficients)), K over the centres.
    residual: largest |y_c - f_c| / |y_c| over the classes c, at the training
      points.
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
  """Fits the points with kernel functions centred at other points.

  With random centres it is the first bad interpolant that section 5 names.
  Uses dense float64 matrices of n x m. If several coefficients fit equally
  well, it returns those of least norm.

  Args:
    kernel: call of a function of `functions`, with its bandwidth.
    points: float32[n, d].
    targets: [n, classes].
    centres: float32[m, d]; with m >= n any targets can be fitted.
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
  """Returns a wrong label for every example, uniform over the other classes.

  The second bad interpolant that section 5 names fits the training points and
  is wrong at every test point: it is the solution for all points together, with
  these labels for the test points.
  """
  rng = np.random.default_rng(seed)
  return (labels + rng.integers(1, num_classes, len(labels))) % num_classes
