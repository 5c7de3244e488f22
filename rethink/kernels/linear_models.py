"""Linear models with more features than points: where SGD from zero goes.

Section 5 of the paper: all global minima have the same degenerate Hessian, so
curvature cannot tell them apart; SGD from zero stays in the span of the data
and ends at the one of least norm.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Path(NamedTuple):
  """Snapshots of SGD on least squares.

  Attributes:
    steps: int64[k]; updates before each snapshot.
    distance: float64[k]; |w - w*| / |w*|, w* the min-norm interpolant.
    residual: float64[k]; |X w - y| / |y|.
    weights: float64[d, classes] at the end.
  """

  steps: np.ndarray
  distance: np.ndarray
  residual: np.ndarray
  weights: np.ndarray


def min_norm(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
  """The pseudo-inverse solution, float64[d, classes], by the SVD."""
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
  """w <- w - eta x_i (x_i' w - y_i), a fresh order of the points each epoch.

  eta of point i is learning_rate / |x_i|^2: with 1 a step fits its point
  exactly (the Kaczmarz method), and below 2 no step leads away from any
  interpolant.

  Args:
    features: [n, d], X.
    targets: [n, classes], Y.
    epochs: passes over the points; a snapshot after each, and at the start.
    learning_rate: in (0, 2).
    start: [d, classes]; zero by default, as in the paper.
    seed: draws the orders.
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
  """Eigenvalues of (1/n) X' diag(beta) X, largest first; float64[d].

  At least d - n of them are 0, and none depends on which interpolant is meant:
  beta_i is the loss's second derivative at z = y_i.

  Args:
    features: [n, d], X.
    curvature: [n] or one number, beta; 1 for squares / 2.
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
    rate = learning_rate / jnp.maximum(row @ row, 1e-300)
    return w - rate * row[:, None] * error[None, :], None

  return jax.lax.scan(step, w, order)[0]
