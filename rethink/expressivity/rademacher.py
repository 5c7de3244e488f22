"""Measures Rademacher complexity (the paper's section 2.2 argues that it is 1).

The empirical Rademacher complexity of a class H of functions into [-1, 1], on
points x_1 ... x_n, is the mean over uniform signs s of
sup_{h in H} (1/n) sum_i s_i h(x_i), the paper's Eq. (1). The supremum cannot be
measured. But a learner that is fitted to s attains some correlation with s, and
the mean over sign vectors is a lower bound on the complexity of the class that
the learner chooses from.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.stats

from rethink import bits, errors


class Estimate(NamedTuple):
  """A measured lower bound on the Rademacher complexity.

  Attributes:
    mean: mean of the correlations.
    low: lower end of the confidence interval of the mean over sign vectors.
    high: upper end. The interval is for what this learner attains; the supremum
      may lie above it.
    correlations: float64[draws]; (1/n) sum_i s_i h_s(x_i) for each sign vector
      s, in [-1, 1].
  """

  mean: float
  low: float
  high: float
  correlations: np.ndarray


def signs(ids: np.ndarray, draws: int, seed: int) -> np.ndarray:
  """Draws sign vectors, float64[draws, n] of -1 and 1 with equal probability.

  A column depends only on its id and the seed, so that subsets of the points
  keep their signs.

  Args:
    ids: uint64[n], of the points.
    draws: number of sign vectors, at least 2.
    seed: determines the signs.

  Raises:
    ConfigError: if there are fewer than two draws.
  """
  if draws < 2:
    raise errors.ConfigError(
      f"draws must be 2 or more for a confidence interval, not {draws}"
    )
  words = bits.bits(seed, "rademacher", ids, draws).T
  return np.where(words >> np.uint64(63), 1.0, -1.0)


def estimate(
  signs: np.ndarray, values: np.ndarray, confidence: float = 0.95
) -> Estimate:
  """Measures how well fitted functions correlate with the signs they fit.

  Args:
    signs: float64[draws, n], from `signs`.
    values: [draws, n]; row k has the values, at the n points, of the function
      that was fitted to sign vector k. Clipped to [-1, 1], as Eq. (1) requires.
    confidence: level of the interval, by Student's t over the draws.

  Raises:
    ConfigError: if signs and values differ in shape.
    DivergedError: if a value is not finite.
  """
  values = np.asarray(values, np.float64)
  if values.shape != signs.shape:
    raise errors.ConfigError(
      f"the learner returned values of shape {list(values.shape)} for signs of"
      f" shape {list(signs.shape)}; it must return one value per sign"
    )
  finite = np.isfinite(values).all(axis=1)
  if not finite.all():
    raise errors.DivergedError(
      "the learner returned values that are not finite for sign vector"
      f" {int(np.argmin(finite))}; if it is trained, lower"
      " config.learning_rate"
    )
  draws = len(signs)
  correlations = np.mean(signs * np.clip(values, -1, 1), axis=1)
  error = correlations.std(ddof=1) / math.sqrt(draws)
  half = float(scipy.stats.t.ppf((1 + confidence) / 2, draws - 1) * error)
  mean = float(correlations.mean())
  return Estimate(mean, mean - half, mean + half, correlations)
