"""From images and labels to a fitted model's outputs: Table 3 on arrays."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rethink import errors, specs
from rethink.kernels import (
  convolution,
  diagnostics,
  features,
  gram,
  least_squares,
  memory,
  solver,
  tiles,
)

_HOLD = 0.25  # of the memory that is there may hold exact tiles, for speed


class Prepared(NamedTuple):
  """Images after the steps.

  Attributes:
    splits: float32[n, d] for each split; images still, if there are filters.
    filters: of the last step, whose features are yet to be computed; or None.
  """

  splits: tuple[np.ndarray, ...]
  filters: convolution.Filters | None


class Problem(NamedTuple):
  """What is to be fitted, and how.

  Attributes:
    train: uint8[n, height, width, channels].
    labels: int[n], what the model is asked to learn.
    test: uint8[m, height, width, channels].
    test_labels: int[m], true ones; for `interpolants.wrong_on_test` alone.
    num_classes: columns of the one-hot targets.
    kernel: of `functions`.
    steps: of `features`.
    ridge: 0 or more, added to the diagonal of K.
    preconditioner: of `preconditioners`.
    tolerance: residual to reach.
    max_rounds: products with K at most.
    tile: rows of a tile, see `tiles.layout`.
    spectrum_points: eigenvalues of K are measured on so many points.
  """

  train: np.ndarray
  labels: np.ndarray
  test: np.ndarray
  test_labels: np.ndarray
  num_classes: int
  kernel: str
  steps: Sequence[str] = ()
  ridge: float = 0.0
  preconditioner: str = "cholesky()"
  tolerance: float = 1e-10
  max_rounds: int = 100
  tile: int = 0
  spectrum_points: int = 0


class Fitted(NamedTuple):
  """What a model says of the examples.

  Attributes:
    train: float64[n, classes], outputs at the training points.
    test: float64[m, classes], outputs at the test points.
    report: of the solver, and what was chosen; JSON values.
    curves: name -> arrays of equal length, see `runs.Run.log_curve`.
  """

  train: np.ndarray
  test: np.ndarray
  report: dict[str, Any]
  curves: Mapping[str, Mapping[str, np.ndarray]] = {}


def prepare(
  steps: Sequence[str], train: np.ndarray, *others: np.ndarray
) -> Prepared:
  """Fits the steps of `features` to the training images, one after the other.

  Args:
    steps: calls in order; () is raw pixels.
    train: uint8[n, height, width, channels].
    *others: images of other splits.

  Raises:
    ConfigError: naming a step that does not exist or does not fit.
  """
  known = specs.public(features)
  splits = [images.astype(np.float32) / 255 for images in (train, *others)]
  for position, text in enumerate(steps, 1):
    result = specs.parse(text, known, "features")(splits[0])
    if isinstance(result, convolution.Filters):
      if position < len(steps):
        raise errors.ConfigError(f"features: {text} must be the last step")
      return Prepared(tuple(splits), result)
    splits = [result(images) for images in splits]
  return Prepared(
    tuple(images.reshape(len(images), -1) for images in splits), None
  )


def interpolate(problem: Problem) -> Fitted:
  """Fits one-hot labels with the function of least norm.

  A linear kernel over fewer features than points is solved in the features.

  Raises:
    ConfigError: if a call cannot be read, memory does not suffice, or the
      equations cannot be solved.
  """
  began = time.monotonic()
  targets = np.eye(problem.num_classes)[problem.labels]
  call = gram.parse(problem.kernel)
  splits, filters = prepare(problem.steps, problem.train, problem.test)
  linear = call.name == "linear"
  size = splits[0][0].size
  if filters is not None:
    size = filters.num_features
    if linear and size < len(targets):  # before minutes go into features
      least_squares.check_memory(len(targets), size, problem.num_classes)
    if not linear or size < len(targets):
      splits, filters = tuple(convolution.features(filters, *splits)), None
  seconds = {"features": time.monotonic() - began}
  chosen = {"features": size}
  if linear and size < len(targets):
    return _primal(problem, splits, targets, chosen, seconds)
  curves = {}
  exact = tiles.layout(len(targets), problem.tile).lower_bytes(8)
  hold = exact <= _HOLD * memory.available_bytes()
  if filters is not None:
    matrix = convolution.ConvolutionGram(filters, splits[0], problem.tile, hold)
  else:
    matrix = gram.PointGram(call, splits[0], problem.tile, hold)
    call = matrix.kernel
    if problem.spectrum_points:
      some = splits[0][:: math.ceil(len(targets) / problem.spectrum_points)]
      values = diagnostics.spectrum(call, some)
      curves["spectrum"] = dict(rank=np.arange(1, len(some) + 1), value=values)
  solution = solver.solve(
    matrix,
    targets,
    ridge=problem.ridge,
    preconditioner=problem.preconditioner,
    tolerance=problem.tolerance,
    max_rounds=problem.max_rounds,
  )
  began = time.monotonic()
  outputs = matrix.predict(splits[1], solution.coefficients)
  seconds |= {**solution.seconds, "predict": time.monotonic() - began}
  report = {
    **chosen,
    "parameters": solution.coefficients.size,
    "kernel": str(call),
    **solution.report(),
    "norms": diagnostics.norms(solution.coefficients, solution.fitted),
    "seconds": seconds,
  }
  return Fitted(solution.fitted, outputs, report, curves)


def _primal(problem, splits, targets, chosen, seconds) -> Fitted:
  began = time.monotonic()
  found = least_squares.solve(splits[0], targets, problem.ridge)
  report = {
    **chosen,
    "parameters": found.weights.size,
    "kernel": problem.kernel,
    "class_norms": found.norms.tolist(),
    "norm": float(np.linalg.norm(found.norms)),
    "residual": found.residual,
    "rank": found.rank,
    "seconds": {**seconds, "factor": time.monotonic() - began},
  }
  fitted, outputs = (split @ found.weights for split in splits)
  return Fitted(fitted, outputs, report)
