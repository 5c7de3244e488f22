"""Solves (K + ridge I) alpha = Y: interpolation, or kernel ridge regression.

Eq. (3) of the paper: without a ridge, sum_i alpha_i k(x_i, .) is the function
of least norm that fits every target.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rethink import errors, specs
from rethink.kernels import gram, preconditioners

_EXAMPLES_SHOWN = 3


class Solution(NamedTuple):
  """The coefficients, and how far they can be trusted.

  Attributes:
    coefficients: float64[n, classes], alpha.
    fitted: float64[n, classes], K alpha with K evaluated in float64: the
      outputs at the training points.
    norms: float64[classes]; sqrt(alpha_c' K alpha_c), the RKHS norm of each
      output.
    residual: the largest |y_c - (K + ridge I) alpha_c| / |y_c| of a class c,
      against K evaluated in float64.
    first_residual: the same before any refinement: of the preconditioner's
      solution.
    rounds: products with K that the refinement took.
    condition: estimate of the condition number, see `Preconditioner`.
    shift: added to the diagonal of the factor, see `Preconditioner`.
    duplicates: points that equal an earlier one.
    bytes: of memory, as predicted.
    seconds: by phase: gram, factor, condition, refine.
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
    """All but the arrays of length n, as JSON values."""
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
  the best step length, and still converges where plain refinement does not.

  Args:
    matrix: K.
    targets: [n, classes], Y; one-hot labels, say.
    ridge: 0 or more.
    preconditioner: of `preconditioners`; "cholesky('float64')" or
      "nystrom(rank=2000)".
    tolerance: residual to reach, see `Solution`.
    max_rounds: products with K at most, refused beyond.

  Raises:
    ConfigError: if memory does not suffice, no function can fit the targets
      (equal points with different ones), or the tolerance is not reached.
  """
  targets = np.asarray(targets, np.float64)
  if len(targets) != matrix.layout.n:
    raise errors.ConfigError(
      f"{len(targets)} targets do not fit {matrix.layout.n} points"
    )
  if not ridge >= 0:
    raise errors.ConfigError(f"ridge must be 0 or more, not {ridge}")
  repeated = duplicates(matrix.points)
  if not ridge:
    _check_consistent(repeated, targets)
  if isinstance(preconditioner, str):
    known = specs.public(preconditioners)
    preconditioner = specs.parse(preconditioner, known, "preconditioner")
  inverse = preconditioner(matrix, ridge)
  began = time.monotonic()
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
  """Solves A x = b for several columns at once, a step length for each.

  The direction is corrected for a preconditioner that rounds (Polak & Ribière);
  convergence is believed only of a residual computed from x.

  Args:
    product: x -> A x, symmetric positive (semi)definite.
    precondition: about A^-1.
    targets: float64[n, k]; b.
    tolerance: norm of each column of b - A x to reach.
    max_rounds: products at most.

  Returns:
    (x, b - A x, [the largest norm of a column of b - A x after each product]).
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
    residuals = targets - product(x)
    history.append(_largest_norm(residuals))
    if history[-1] <= tolerance or not history[-1] < 0.5 * exact:
      break
    exact = history[-1]
  return x, residuals, history


def _largest_norm(columns: np.ndarray) -> float:
  return float(np.max(np.linalg.norm(columns, axis=0)))


def duplicates(points: np.ndarray) -> list[tuple[int, int]]:
  """(position, position of its first occurrence) of every repeated point."""
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
      f" point and have another target (points {shown}); remove them, or give"
      " a ridge"
    )


def _not_solved(residual, tolerance, history, inverse, repeated, ridge) -> str:
  facts = [f"{len(history)} rounds", f"ridge {ridge:g}"]
  if inverse.condition is not None:
    facts.append(f"condition number about {inverse.condition:.1e}")
  if inverse.shift:
    facts.append(
      "not positive definite in the factor's precision until"
      f" {inverse.shift:.1e} was added"
    )
  if repeated:
    facts.append(f"{repeated:,} duplicate points")
  return (
    f"the kernel's equations are solved to {residual:.1e} only, not to"
    f" {tolerance:g} ({'; '.join(facts)}); a matrix is near rank-deficient if"
    " the bandwidth is too wide for the distances of the points: narrow it,"
    " give a ridge, or take cholesky('float64') or a larger nystrom(rank)"
  )
