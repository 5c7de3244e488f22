"""From images and labels to a fitted model's outputs: Table 3 on arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rethink import errors, specs
from rethink.kernels import (
  convolution,
  features,
  gram,
  memory,
  primal,
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


class Fitted(NamedTuple):
  """What a model says of the examples.

  Attributes:
    train: float64[n, classes], outputs at the training points.
    test: float64[m, classes], outputs at the test points.
    report: of the solver, and what was chosen; JSON values.
  """

  train: np.ndarray
  test: np.ndarray
  report: dict[str, Any]


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


def interpolate(
  train: np.ndarray,
  labels: np.ndarray,
  test: np.ndarray,
  num_classes: int,
  *,
  kernel: str,
  steps: Sequence[str] = (),
  ridge: float = 0.0,
  preconditioner: str = "cholesky()",
  tolerance: float = 1e-10,
  max_rounds: int = 100,
  tile: int = 0,
) -> Fitted:
  """Fits one-hot labels with the function of least norm.

  A linear kernel over fewer features than points is solved in the features.

  Args:
    train: uint8[n, height, width, channels].
    labels: int[n], what the model is asked to learn.
    test: uint8[m, height, width, channels].
    num_classes: columns of the targets.
    kernel: of `functions`.
    steps: of `features`.
    ridge: 0 or more, added to the diagonal of K.
    preconditioner: of `preconditioners`.
    tolerance: residual to reach.
    max_rounds: products with K at most.
    tile: rows of a tile, see `tiles.layout`.

  Raises:
    ConfigError: if a call cannot be read, memory does not suffice, or the
      equations cannot be solved.
  """
  targets = np.eye(num_classes)[labels]
  call = gram.parse(kernel)
  splits, filters = prepare(steps, train, test)
  linear = call.name == "linear"
  size = splits[0][0].size
  if filters is not None:
    size = filters.num_features
    if not linear or size < len(targets):
      splits, filters = tuple(convolution.features(filters, *splits)), None
  chosen = {"features": size}
  if linear and size < len(targets):
    found = primal.least_squares(splits[0], targets, ridge)
    report = {
      **chosen,
      "parameters": found.weights.size,
      "kernel": str(call),
      "norms": found.norms.tolist(),
      "norm": float(np.linalg.norm(found.norms)),
      "residual": found.residual,
      "rank": found.rank,
    }
    fitted, outputs = (split @ found.weights for split in splits)
    return Fitted(fitted, outputs, report)
  if filters is not None:
    matrix = convolution.ConvolutionGram(filters, splits[0], tile)
  else:
    exact = tiles.layout(len(targets), tile).lower_bytes(8)
    hold = exact <= _HOLD * memory.available_bytes()
    matrix = gram.PointGram(call, splits[0], tile, hold)
    call = matrix.kernel
  solution = solver.solve(
    matrix,
    targets,
    ridge=ridge,
    preconditioner=preconditioner,
    tolerance=tolerance,
    max_rounds=max_rounds,
  )
  report = {
    **chosen,
    "parameters": solution.coefficients.size,
    "kernel": str(call),
    **solution.report(),
  }
  outputs = matrix.predict(splits[1], solution.coefficients)
  return Fitted(solution.fitted, outputs, report)
