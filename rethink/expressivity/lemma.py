"""The matrix of Lemma 1 (appendix C), for n small enough to look at."""

from typing import NamedTuple

import numpy as np


class Spectrum(NamedTuple):
  """What Lemma 1 says of A, computed without using that A is triangular.

  Attributes:
    rank: numerical, by singular values.
    smallest_eigenvalue: of A.
    smallest_difference: min_i (x_i - b_i), to which the lemma says it is equal.
    smallest_singular_value: of A; far below, as A is not normal. It is what
      conditioning depends on.
  """

  rank: int
  smallest_eigenvalue: float
  smallest_difference: float
  smallest_singular_value: float


def matrix(x: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
  """float64[n, n]: A_ij = max(x_i - b_j, 0), for ascending x and b."""
  return np.maximum(np.subtract.outer(x, thresholds), 0.0)


def spectrum(x: np.ndarray, thresholds: np.ndarray) -> Spectrum:
  """Rank and smallest eigenvalue of `matrix(x, thresholds)`."""
  a = matrix(x, thresholds)
  return Spectrum(
    rank=int(np.linalg.matrix_rank(a)),
    smallest_eigenvalue=float(np.real(np.linalg.eigvals(a)).min()),
    smallest_difference=float((x - thresholds).min()),
    smallest_singular_value=float(np.linalg.svd(a, compute_uv=False)[-1]),
  )
