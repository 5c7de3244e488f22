"""Preconditioners of K + ridge I: every public function returns one.

`cholesky` is nearly the exact inverse, so that one or two rounds of conjugate
gradients reach full precision. `nystrom` needs far less memory: use it where
n^2 numbers do not fit.
"""

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from rethink import errors, specs
from rethink.kernels import gram, memory, tiles

# What every public function gets first, by position.
LEADING = ("matrix", "ridge")

_sparse: Any = scipy.sparse.linalg  # its type stubs lack some arguments
# JAX's CPU client queues at most this many computations, each with its tile.
_QUEUED = 32
# Shifts relative to the mean of the diagonal, tried in turn while the
# factorization fails.
_SHIFTS = {
  "float32": (1e-6, 1e-5, 1e-4, 1e-3),
  "float64": (1e-14, 1e-12, 1e-10, 1e-8),
}


class Preconditioner(NamedTuple):
  """An approximate inverse of K + ridge I, and facts about the matrix.

  Attributes:
    apply: multiplies float64[n, k] by the approximate inverse.
    shift: added to the diagonal, besides the ridge, for the factorization; the
      equations that are solved do not contain it.
    condition: estimated condition number of K + (ridge + shift) I in the
      precision of the factor; None if not known.
    bytes: predicted memory.
    seconds: time taken, by phase.
  """

  apply: Callable[[np.ndarray], np.ndarray]
  shift: float
  condition: float | None
  bytes: int
  seconds: dict[str, float]


def cholesky(
  matrix: gram.Gram,
  ridge: float,
  dtype: Literal["float32", "float64"] = "float32",
) -> Preconditioner:
  """Factors K + ridge I by Cholesky, with a small shift where that fails.

  Args:
    matrix: K.
    ridge: 0 or more.
    dtype: precision of the factor.

  Raises:
    ConfigError: if memory does not suffice, or the matrix is farther from
      positive definite than rounding errors explain.
  """
  layout = matrix.layout

  def need(n: int) -> int:
    itemsize = np.dtype(dtype).itemsize
    return matrix.bytes(n) + cholesky_bytes(n, layout.size, itemsize)

  memory.check(need, layout.n, f"cholesky({dtype!r})")
  seconds = {"gram": 0.0, "factor": 0.0}
  shift = largest = scale = 0.0
  lower: tiles.Tiles = []

  def multiply(x: np.ndarray) -> np.ndarray:
    return _on_parts(
      layout, dtype, lambda b: tiles.multiply(lambda i, j: lower[i][j], b), x
    )

  def apply(x: np.ndarray) -> np.ndarray:
    return _on_parts(layout, dtype, lambda b: tiles.solve(lower, b), x)

  for relative in (*_SHIFTS[dtype], None):
    began = time.monotonic()
    lower.clear()  # frees the failed factor before the next one is made
    lower.extend(jax.block_until_ready(matrix.fill(dtype, ridge + shift)))
    filled = time.monotonic()
    seconds["gram"] += filled - began
    if not shift:
      with jax.enable_x64(True):
        scale = sum(float(jnp.trace(row[-1])) for row in lower)
      largest = _largest(multiply, layout.n)
      seconds["condition"] = time.monotonic() - filled
    filled = time.monotonic()
    try:
      with jax.enable_x64(True):
        tiles.factor(lower)
        jax.block_until_ready(lower)
      break
    except tiles.FactorizationError:
      if relative is None:
        raise errors.ConfigError(
          f"the Gram matrix of {layout.n:,} points is not positive definite,"
          f" even with {shift:.1e} added to its diagonal; check that the kernel"
          " is a positive semidefinite function"
        ) from None
      shift = relative * scale / layout.n
    finally:
      seconds["factor"] += time.monotonic() - filled

  began = time.monotonic()
  condition = largest * _largest(apply, layout.n)
  seconds["condition"] += time.monotonic() - began
  return Preconditioner(apply, shift, condition, need(layout.n), seconds)


def _on_parts(layout, dtype, function, x):
  """Applies a function of tiled rows in the given precision to float64 x."""
  with jax.enable_x64(True):
    parts = function(layout.split(x.astype(dtype)))
    return layout.join(parts).astype(np.float64)


def cholesky_bytes(n: int, tile: int, itemsize: int) -> int:
  """Returns the memory of `cholesky`: its tiles and the queued float64 ones."""
  return tiles.layout(n, tile).lower_bytes(itemsize) + _QUEUED * tile**2 * 8


def nystrom(
  matrix: gram.Gram,
  ridge: float,
  rank: Annotated[int, specs.Range(1, 1e9)] = 1000,
) -> Preconditioner:
  """Inverts on the span of `rank` columns of K, and by a constant elsewhere.

  Frangella, Tropp & Udell (2023), with columns of K in place of random test
  vectors. Takes memory for two [n, rank] matrices, and time rank^2 n.

  Args:
    matrix: K.
    ridge: 0 or more.
    rank: number of columns, evenly spaced; at most the number of points.

  Raises:
    ConfigError: if memory does not suffice.
  """
  n = matrix.layout.n
  rank = min(rank, n)

  def need(points: int) -> int:
    return matrix.bytes(points) + 8 * (3 * points * rank + 4 * rank**2)

  memory.check(need, n, f"nystrom(rank={rank})")
  began = time.monotonic()
  index = np.linspace(0, n - 1, rank).astype(np.int64)
  columns = matrix.columns(index)
  filled = time.monotonic()
  core = columns[index]
  # The shift, larger than rounding errors, makes the core positive definite; it
  # is subtracted from the eigenvalues below.
  shift = float(np.trace(core)) * np.finfo(np.float64).eps * 10
  columns += shift * (np.arange(n)[:, None] == index)
  core = scipy.linalg.cholesky(core + shift * np.eye(rank), lower=True)
  half = scipy.linalg.solve_triangular(core, columns.T, lower=True)
  values, vectors = scipy.linalg.eigh(half @ half.T)
  keep = values > values[-1] * 1e-14
  basis = half.T @ (vectors[:, keep] / np.sqrt(values[keep]))
  values = np.maximum(values[keep] - shift, values[-1] * 1e-15) + ridge
  weights = values[0] / values - 1

  def apply(x: np.ndarray) -> np.ndarray:
    return x + basis @ (weights[:, None] * (basis.T @ x))

  seconds = {"gram": filled - began, "factor": time.monotonic() - filled}
  return Preconditioner(apply, 0.0, None, need(n), seconds)


def _largest(multiply: Callable[[np.ndarray], np.ndarray], n: int) -> float:
  """Estimates the largest eigenvalue of an operator to a few percent."""
  if n < 3:  # ARPACK needs more dimensions than that
    return float(np.linalg.eigvalsh(multiply(np.eye(n)))[-1])
  operator = _sparse.LinearOperator(
    (n, n), matvec=lambda x: multiply(x.reshape(-1, 1))[:, 0], dtype=np.float64
  )
  # A fixed start: ARPACK's own is random, and the reports would differ.
  start = np.random.default_rng(0).normal(size=n)
  values = _sparse.eigsh(
    operator,
    k=1,
    ncv=min(n, 6),
    # For the residual: the eigenvalue of a symmetric operator is off by about
    # the square of that.
    tol=0.1,
    v0=start,
    return_eigenvectors=False,
  )
  return float(values[-1])
