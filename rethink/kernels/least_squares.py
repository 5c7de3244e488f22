"""Least squares for fewer features than points: one weight per feature.

The counterpart of `solver`, which interpolates and so needs at least as many
features as points. Both return the minimizer of least norm.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from rethink.kernels import memory


class Weights(NamedTuple):
  """The least-squares solution of least norm.

  Attributes:
    weights: float64[d, classes].
    norms: float64[classes]; the length of each column of `weights`.
    residual: largest |y_c - F w_c| / |y_c| over the classes c. It measures the
      fit, not rounding: fewer features than points need not fit.
    rank: numerical rank of the features in float64.
  """

  weights: np.ndarray
  norms: np.ndarray
  residual: float
  rank: int


def check_memory(n: int, d: int, classes: int) -> None:
  """Checks that `solve` has enough memory for [n, d] features.

  Raises:
    ConfigError: if memory does not suffice.
  """
  memory.check(
    lambda _: 6 * 8 * (d + classes) ** 2, n, f"least squares in {d:,} features"
  )


def solve(
  features: np.ndarray, targets: np.ndarray, ridge: float = 0.0
) -> Weights:
  """Minimizes |F w - Y|^2 + ridge |w|^2 by QR factorization in float64.

  F^T F is never formed, because its condition number is the square of F's.
  Instead, blocks of rows are folded one after the other into one triangle
  [R; Q^T Y], which takes the memory of a few d x d matrices besides F.

  Args:
    features: float32[n, d], F.
    targets: [n, classes], Y.
    ridge: 0 or more.

  Raises:
    ConfigError: if memory does not suffice.
  """
  (n, d), classes = features.shape, targets.shape[1]
  width = d + classes
  check_memory(n, d, classes)
  triangle = np.zeros((width, width))
  np.fill_diagonal(triangle[:d, :d], np.sqrt(ridge))
  rows = max(width, 1024)
  for start in range(0, n, rows):
    block = np.hstack(
      [features[start : start + rows], targets[start : start + rows]]
    )
    stacked = np.vstack([triangle, block.astype(np.float64)])
    triangle = np.linalg.qr(stacked, mode="r")[:width]
  # gelsy, a complete orthogonal factorization, returns the solution of least
  # norm where the features are rank-deficient.
  negligible = np.finfo(np.float64).eps * max(n, d)
  weights, _, rank, _ = scipy.linalg.lstsq(
    triangle[:d, :d], triangle[:d, d:], cond=negligible, lapack_driver="gelsy"
  )
  misfit = np.linalg.norm(features @ weights - targets, axis=0)
  scale = np.linalg.norm(targets, axis=0)
  residual = np.max(misfit / np.where(scale > 0, scale, 1))
  norms = np.linalg.norm(weights, axis=0)
  return Weights(weights, norms, float(residual), int(rank))
