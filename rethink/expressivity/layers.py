"""Feed-forward ReLU networks as matrices, evaluated layer by layer."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import scipy.sparse


class Layer(NamedTuple):
  """The affine map matrix x + bias; ReLU follows in all layers but the last.

  Attributes:
    matrix: sparse [out, in].
    bias: float64[out].
  """

  matrix: scipy.sparse.csr_array
  bias: np.ndarray


def forward(layers: Sequence[Layer], x: np.ndarray) -> np.ndarray:
  """Evaluates the layers in float64: [in, m] -> [out, m], points in columns."""
  *hidden, output = layers
  for layer in hidden:
    x = layer.matrix @ x
    x += layer.bias[:, None]
    np.maximum(x, 0, out=x)
  return output.matrix @ x + output.bias[:, None]


def rational(layers: Sequence[Layer], x: Fraction) -> list[Fraction]:
  """Evaluates the layers at one number without any rounding."""
  values = [x]
  for layer in layers[:-1]:
    values = [max(v, Fraction(0)) for v in _rational_layer(layer, values)]
  return _rational_layer(layers[-1], values)


def _rational_layer(layer: Layer, values: list[Fraction]) -> list[Fraction]:
  matrix = layer.matrix
  ends, columns = matrix.indptr.tolist(), matrix.indices.tolist()
  entries, out = matrix.data.tolist(), []
  for row, bias in enumerate(layer.bias.tolist()):
    total = Fraction(bias)
    for k in range(ends[row], ends[row + 1]):
      if values[columns[k]]:  # most hinges are 0, and fractions are slow
        total += Fraction(entries[k]) * values[columns[k]]
    out.append(total)
  return out
