"""SGD on linear models with more features than points, and their Hessian.

Section 5 of the paper: all global minima have the same degenerate Hessian, so
curvature cannot tell them apart. SGD from zero stays in the span of the data
and converges to the minimum of least norm.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Path(NamedTuple):
  """Snapshots of SGD on least squares.

  Attributes:
    steps: int64[k]; number of updates before each snapshot.
    distance: float64[k]; |w - w*| / |w*|, where w* is the min-norm interpolant.
    residual: float64[k]; |X w - y| / |y|.
    weights: float64[d, classes]; the weights after the last update.
  """

  steps: np.ndarray
  distance: np.ndarray
  residual: np.ndarray
  weights: np.ndarray


def min_norm(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
  """Returns the least-squares solution of least norm: float64[d, classes]."""
  return np.linalg.lstsq(features.astype(np.float64), targets)[0]


def sgd(
  features: np.ndarray,
  targets: np.ndarray,
  *,
  epochs: int,
  learning_rate: float = 1.0,
  start: np.ndarray | None = None,
  seed: int = 0,
) -> Path:
  """Runs w <- w - eta x_i (x_i' w - y_i), reshuffling the points every epoch.

  For point i, eta is learning_rate / |x_i|^2. With a learning rate of 1, a step
  fits its point exactly (the Kaczmarz method); below 2, no step increases the
  distance to any interpolant.

  Args:
    features: [n, d], X.
    targets: [n, classes], Y.
    epochs: passes over the points. A snapshot is taken before the first and
      after each.
    learning_rate: in (0, 2).
    start: [d, classes], initial weights; zero by default, as in the paper.
    seed: draws the order of the points in each epoch.
  """
  x, y = features.astype(np.float64), np.asarray(targets, np.float64)
  best = min_norm(x, y)
  weights = np.zeros_like(best) if start is None else start
  rng = np.random.default_rng(seed)
  distances, residuals = [], []
  with jax.enable_x64(True):
    device_x, device_y, w = (jax.device_put(a) for a in (x, y, weights))
    for epoch in range(epochs + 1):
      if epoch:
        order = rng.permutation(len(x))
        w = _epoch(device_x, device_y, w, order, learning_rate)
      weights = np.asarray(w)
      distances.append(np.linalg.norm(weights - best) / np.linalg.norm(best))
      residuals.append(np.linalg.norm(x @ weights - y) / np.linalg.norm(y))
  return Path(
    np.arange(epochs + 1) * len(x),
    np.array(distances),
    np.array(residuals),
    weights,
  )


def hessian_spectrum(
  features: np.ndarray, curvature: np.ndarray | float = 1.0
) -> np.ndarray:
  """Returns float64[d], the eigenvalues of (1/n) X' diag(beta) X, descending.

  beta_i is the second derivative of the loss at output y_i. Every interpolant
  has these outputs, so all of them have this Hessian. At least d - n of its
  eigenvalues are 0.

  Args:
    features: [n, d], X.
    curvature: [n] or one number, beta; 1 for the loss (output - y)^2 / 2.
  """
  n, d = features.shape
  scaled = features * np.sqrt(np.broadcast_to(curvature, n) / n)[:, None]
  values = np.linalg.svd(scaled.astype(np.float64), compute_uv=False) ** 2
  return np.pad(values, (0, max(0, d - n)))


@functools.partial(jax.jit, donate_argnums=2)
def _epoch(x, y, w, order, learning_rate):
  def step(w, i):
    row = x[i]
    error = row @ w - y[i]
    rate = learning_rate / jnp.maximum(row @ row, 1e-300)  # a row may be zero
    return w - rate * row[:, None] * error[None, :], None

  return jax.lax.scan(step, w, order)[0]
