"""Fits kernel models to images and labels: Table 3 of the paper, on arrays."""

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

# Exact tiles are kept, for speed, if they take at most this part of the memory
# that is available.
_CACHE_SHARE = 0.25


class Prepared(NamedTuple):
  """Images after the feature steps.

  Attributes:
    splits: float32[n, d] for each split; still images if `filters` is given.
    filters: filters of the last step, whose features still have to be computed;
      or None.
  """

  splits: tuple[np.ndarray, ...]
  filters: convolution.Filters | None


class Problem(NamedTuple):
  """A data set to fit, and how to fit it.

  Attributes:
    train: uint8[n, height, width, channels].
    labels: int[n]; the labels that the model is asked to learn.
    test: uint8[m, height, width, channels].
    test_labels: int[m]; true labels, used by `interpolants.wrong_on_test` only.
    num_classes: columns of the one-hot targets.
    kernel: call of a function of `functions`.
    steps: calls of functions of `features`, in order.
    ridge: 0 or more, added to the diagonal of K.
    preconditioner: call of a function of `preconditioners`.
    tolerance: residual to reach.
    max_rounds: largest number of products with K.
    tile: rows of a tile, see `tiles.layout`.
    spectrum_points: about this many training points are used to measure the
      eigenvalues of K; 0 measures none.
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
  """The outputs of a fitted model, and a report on the fit.

  Attributes:
    train: float64[n, classes], outputs at the training points.
    test: float64[m, classes], outputs at the test points.
    report: what the solver reached and which kernel was used; JSON values.
    curves: name -> arrays of equal length, see `runs.Run.log_curve`.
  """

  train: np.ndarray
  test: np.ndarray
  report: dict[str, Any]
  curves: Mapping[str, Mapping[str, np.ndarray]] = {}


def prepare(
  steps: Sequence[str], train: np.ndarray, *others: np.ndarray
) -> Prepared:
  """Applies the steps of `features`, each estimated on the training images.

  Args:
    steps: calls in order; () gives raw pixels.
    train: uint8[n, height, width, channels].
    *others: images of other splits.

  Raises:
    ConfigError: naming a step that does not exist or cannot be applied.
  """
  splits = [images.astype(np.float32) / 255 for images in (train, *others)]
  for position, text in enumerate(steps, 1):
    result = specs.of_module(text, features, "features")(splits[0])
    if isinstance(result, convolution.Filters):
      if position < len(steps):
        raise errors.ConfigError(
          f"config.features: {text} must be the last step; move it to the end"
        )
      return Prepared(tuple(splits), result)
    splits = [result(images) for images in splits]
  return Prepared(
    tuple(images.reshape(len(images), -1) for images in splits), None
  )


def interpolate(problem: Problem) -> Fitted:
  """Fits one-hot labels with the function of least norm.

  A linear kernel over fewer features than points cannot interpolate: it is
  fitted by least squares in the features instead, see `least_squares`.

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
    # Checked now, before minutes are spent on computing features.
    if linear and size < len(targets):
      least_squares.check_memory(len(targets), size, problem.num_classes)
    if not linear or size < len(targets):
      splits, filters = tuple(convolution.features(filters, *splits)), None
  seconds = {"features": time.monotonic() - began}
  chosen = {"features": size}
  if linear and size < len(targets):
    return _least_squares(problem, splits, targets, chosen, seconds)
  curves = {}
  exact = tiles.layout(len(targets), problem.tile).lower_bytes(8)
  cache = exact <= _CACHE_SHARE * memory.available_bytes()
  if filters is not None:
    matrix = convolution.ConvolutionGram(
      filters, splits[0], problem.tile, cache
    )
  else:
    matrix = gram.PointGram(call, splits[0], problem.tile, cache)
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


def _least_squares(problem, splits, targets, chosen, seconds) -> Fitted:
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
