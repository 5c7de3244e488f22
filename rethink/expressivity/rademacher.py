"""Measured Rademacher complexity (paper, section 2.2, which argues it is 1).

The empirical Rademacher complexity of a class H on points x_1 ... x_n is the
mean over uniform signs s of sup_{h in H} (1/n) sum_i s_i h(x_i), Eq. (1), with
h into [-1, 1]. No supremum can be measured: a learner that fits s attains some
correlation, and the mean over sign vectors is a lower bound on the complexity
of whatever class the learner chooses from.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.stats

from rethink import bits, errors

Learner = Callable[[np.ndarray], np.ndarray]


class Estimate(NamedTuple):
  """An attained lower bound on the Rademacher complexity.

  Attributes:
    mean: of the correlations.
    low: end of the confidence interval of the mean over sign vectors.
    high: its other end; of what this learner attains, not of the supremum.
    correlations: float64[draws]; (1/n) sum_i s_i h_s(x_i) each, in [-1, 1].
  """

  mean: float
  low: float
  high: float
  correlations: np.ndarray


def signs(ids: np.ndarray, draws: int, seed: int) -> np.ndarray:
  """float64[draws, n] of -1 and 1, fair; a column depends on its id alone.

  Raises:
    ConfigError: if there are fewer than two draws.
  """
  if draws < 2:
    raise errors.ConfigError(
      f"draws must be 2 or more for a confidence interval, not {draws}"
    )
  words = bits.bits(seed, "rademacher", ids, draws).T
  return np.where(words >> np.uint64(63), 1.0, -1.0)


def rademacher(
  learner: Learner,
  ids: np.ndarray,
  *,
  draws: int = 10,
  seed: int = 0,
  confidence: float = 0.95,
) -> Estimate:
  """Fits sign vectors and measures the correlation attained with them.

  Args:
    learner: maps signs[draws, n] to values[draws, n], at the same n points, of
      functions that are fitted to one sign vector each; see `estimate`.
    ids: uint64[n], of the points; nested subsets keep their signs.
    draws: sign vectors, at least 2.
    seed: draws them.
    confidence: of the interval, by Student's t over the draws.

  Raises:
    ConfigError: if there are fewer than two draws.
    DivergedError: if the learner returns values that are not finite.
  """
  drawn = signs(ids, draws, seed)
  return estimate(drawn, learner(drawn), confidence)


def estimate(
  signs: np.ndarray, values: np.ndarray, confidence: float = 0.95
) -> Estimate:
  """The correlation of fitted functions with what they were fitted to.

  Args:
    signs: float64[draws, n], from `signs`.
    values: [draws, n]; clipped to [-1, 1], to which Eq. (1) is bound.
    confidence: of the interval, by Student's t over the draws.

  Raises:
    ConfigError: if the values have another shape.
    DivergedError: if they are not finite.
  """
  values = np.asarray(values, np.float64)
  if values.shape != signs.shape:
    raise errors.ConfigError(
      f"the learner returned values of shape {list(values.shape)} for"
      f" {list(signs.shape)} signs"
    )
  finite = np.isfinite(values).all(axis=1)
  if not finite.all():
    raise errors.DivergedError(
      "the learner's values are not finite for sign vector"
      f" {int(np.argmin(finite))}"
    )
  draws = len(signs)
  correlations = np.mean(signs * np.clip(values, -1, 1), axis=1)
  error = correlations.std(ddof=1) / math.sqrt(draws)
  half = float(scipy.stats.t.ppf((1 + confidence) / 2, draws - 1) * error)
  mean = float(correlations.mean())
  return Estimate(mean, mean - half, mean + half, correlations)
