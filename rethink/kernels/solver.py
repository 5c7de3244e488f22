"""Solves (K + ridge I) alpha = Y: interpolation, or kernel ridge regression.

Without a ridge, sum_i alpha_i k(x_i, .) is the function of least norm that fits
every target (Eq. (3) of the paper).
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rethink import errors, specs
from rethink.kernels import gram, preconditioners

_EXAMPLES_SHOWN = 3


class Solution(NamedTuple):
  """The coefficients of the solution, and how accurate they are.

  Attributes:
    coefficients: float64[n, classes], alpha.
    fitted: float64[n, classes], K alpha with K evaluated in float64: the
      outputs at the training points.
    norms: float64[classes]; sqrt(alpha_c' K alpha_c), the RKHS norm of each
      output.
    residual: largest |y_c - (K + ridge I) alpha_c| / |y_c| over the classes c,
      with K evaluated in float64.
    first_residual: the same for the preconditioner's own solution, before any
      refinement.
    rounds: products with K that were needed.
    condition: estimated condition number, see `Preconditioner`.
    shift: added to the diagonal of the factor, see `Preconditioner`.
    duplicates: number of points that equal an earlier one.
    bytes: predicted memory.
    seconds: time taken, by phase: gram, factor, condition, refine.
  """

  coefficients: np.ndarray
  fitted: np.ndarray
  norms: np.ndarray
  residual: float
  first_residual: float
  rounds: int
  condition: float | None
  shift: float
  duplicates: int
  bytes: int
  seconds: dict[str, float]

  def report(self) -> dict[str, Any]:
    """Returns everything but the arrays of length n, as JSON values."""
    arrays = ("coefficients", "fitted")
    fields = {k: v for k, v in self._asdict().items() if k not in arrays}
    total = float(np.sqrt(np.sum(self.norms**2)))
    fields["class_norms"] = fields.pop("norms").tolist()
    return {**fields, "norm": total}


def solve(
  matrix: gram.Gram,
  targets: np.ndarray,
  *,
  ridge: float = 0.0,
  preconditioner: specs.Call | str = "cholesky()",
  tolerance: float = 1e-10,
  max_rounds: int = 100,
) -> Solution:
  """Solves (K + ridge I) alpha = Y by preconditioned conjugate gradients.

  With a Cholesky factor as the preconditioner this is iterative refinement with
  the optimal step length; it also converges where plain refinement does not.

  Args:
    matrix: K.
    targets: [n, classes], Y; for example one-hot labels.
    ridge: 0 or more.
    preconditioner: call of a function of `preconditioners`, such as
      "cholesky('float64')" or "nystrom(rank=2000)".
    tolerance: residual to reach, see `Solution`.
    max_rounds: largest number of products with K.

  Raises:
    ConfigError: if memory does not suffice, if no function fits the targets
      because equal points have different ones, or if `max_rounds` products do
      not reach the tolerance.
  """
  targets = np.asarray(targets, np.float64)
  if len(targets) != matrix.layout.n:
    raise errors.ConfigError(
      f"there are {len(targets)} targets for {matrix.layout.n} points; give one"
      " target per point"
    )
  if not ridge >= 0:
    raise errors.ConfigError(f"config.ridge must be 0 or more, not {ridge}")
  repeated = duplicates(matrix.points)
  if not ridge:
    _check_consistent(repeated, targets)
  if isinstance(preconditioner, str):
    preconditioner = specs.of_module(
      preconditioner, preconditioners, "preconditioner"
    )
  inverse = preconditioner(matrix, ridge)
  began = time.monotonic()
  # Every class is scaled to length 1, so that one tolerance means the same for
  # frequent and rare classes; a class without examples has length 0.
  scale = np.linalg.norm(targets, axis=0)
  scale = np.where(scale > 0, scale, 1.0)
  coefficients, residuals, history = conjugate_gradients(
    lambda x: matrix.product(x) + ridge * x,
    inverse.apply,
    targets / scale,
    tolerance,
    max_rounds,
  )
  coefficients *= scale
  residual = float(np.max(np.linalg.norm(residuals, axis=0)))
  if not residual <= tolerance:
    raise errors.ConfigError(
      _not_solved(residual, tolerance, history, inverse, len(repeated), ridge)
    )
  fitted = targets - residuals * scale - ridge * coefficients
  squares = np.sum(coefficients * fitted, axis=0)
  return Solution(
    coefficients,
    fitted,
    np.sqrt(np.maximum(squares, 0)),
    residual,
    history[0],
    len(history),
    inverse.condition,
    inverse.shift,
    len(repeated),
    inverse.bytes,
    {**inverse.seconds, "refine": time.monotonic() - began},
  )


def conjugate_gradients(
  product: Callable[[np.ndarray], np.ndarray],
  precondition: Callable[[np.ndarray], np.ndarray],
  targets: np.ndarray,
  tolerance: float,
  max_rounds: int,
) -> tuple[np.ndarray, np.ndarray, list[float]]:
  """Solves A x = b for several columns at once, each with its own step length.

  Directions follow Polak & Ribière, which tolerates rounding errors in the
  preconditioner. Convergence is confirmed with a residual computed from x.

  Args:
    product: x -> A x, with A symmetric and positive (semi)definite.
    precondition: x -> about A^-1 x.
    targets: float64[n, k]; b.
    tolerance: norm that every column of b - A x has to reach.
    max_rounds: largest number of products; one more may confirm the result.

  Returns:
    (x, b - A x, history), where `history` has the largest norm of a column of
    b - A x after each product.
  """
  x, residuals = np.zeros_like(targets), targets
  history: list[float] = []
  exact = np.inf
  while len(history) < max_rounds:
    z = precondition(residuals)
    direction = z
    while len(history) < max_rounds:
      moved = product(direction)
      slope = np.sum(direction * moved, 0)
      along = np.sum(direction * residuals, 0)
      step = np.divide(along, slope, np.zeros_like(slope), where=slope > 0)
      x, old = x + step * direction, residuals
      residuals = residuals - step * moved
      history.append(_largest_norm(residuals))
      if history[-1] <= tolerance:
        break
      before = np.sum(z * old, 0)
      z = precondition(residuals)
      change = np.sum(z * (residuals - old), 0)
      keep = np.divide(change, before, np.zeros_like(before), where=before > 0)
      direction = z + keep * direction
    # The updated residuals drift away from b - A x by rounding: compute them
    # anew, and start over as long as that at least halves the true residual.
    residuals = targets - product(x)
    history.append(_largest_norm(residuals))
    if history[-1] <= tolerance or not history[-1] < 0.5 * exact:
      break
    exact = history[-1]
  return x, residuals, history


def _largest_norm(columns: np.ndarray) -> float:
  return float(np.max(np.linalg.norm(columns, axis=0)))


def duplicates(points: np.ndarray) -> list[tuple[int, int]]:
  """Returns (position, position of its first occurrence) of repeated points."""
  seen: dict[bytes, int] = {}
  found = []
  for position, point in enumerate(points):
    first = seen.setdefault(point.tobytes(), position)
    if first != position:
      found.append((position, first))
  return found


def _check_consistent(repeated, targets) -> None:
  bad = [
    (first, later)
    for later, first in repeated
    if not np.array_equal(targets[first], targets[later])
  ]
  if bad:
    shown = ", ".join(f"{a} and {b}" for a, b in bad[:_EXAMPLES_SHOWN])
    raise errors.ConfigError(
      f"no function fits these targets: {len(bad):,} points equal an earlier"
      f" point but have another target (points {shown}); remove them, or set"
      " config.ridge above 0"
    )


def _not_solved(residual, tolerance, history, inverse, repeated, ridge) -> str:
  facts = [f"{len(history)} rounds", f"ridge {ridge:g}"]
  if inverse.condition is not None:
    facts.append(f"condition number about {inverse.condition:.1e}")
  if inverse.shift:
    facts.append(
      f"a shift of {inverse.shift:.1e} was needed for a positive definite"
      " factor"
    )
  if repeated:
    facts.append(f"{repeated:,} duplicate points")
  return (
    f"the kernel equations are solved only to {residual:.1e}, not to"
    f" {tolerance:g} ({'; '.join(facts)}). The matrix is nearly rank-deficient"
    " if the bandwidth is too wide for the distances between the points: narrow"
    " the bandwidth, give a ridge, or use cholesky('float64') or nystrom with a"
    " larger rank"
  )
