"""Multi-layer perceptron (paper, appendix A: one and three layers of 512)."""

import math
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from rethink import models, specs


class Model(nn.Module):
  """Multi-layer perceptron on the flattened image, with ReLU.

  Attributes:
    num_classes: number of logits.
    widths: units per hidden layer; () is a linear classifier.
    dropout_rate: rate of the dropout after every hidden layer.
    kernel_init: call of a function of `flax.linen.initializers`. The paper does
      not give its initializer.
  """

  num_classes: int
  widths: specs.Sizes = (512,)
  dropout_rate: specs.Fraction = 0.0
  kernel_init: str = "he_normal"

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    init = models.initializer(self.kernel_init)
    x = images.reshape(len(images), -1)
    for width in self.widths:
      x = nn.relu(nn.Dense(width, kernel_init=init)(x))
      x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
    return nn.Dense(self.num_classes, kernel_init=init)(x)

  def lipschitz_bound(self, params: Any) -> float:
    """Returns the product of the layers' spectral norms.

    It is an upper bound on the Lipschitz constant from images to logits in
    evaluation, for Euclidean norms, because ReLU has Lipschitz constant 1. The
    true constant may be much smaller.
    """
    kernels = (layer["kernel"] for layer in params.values())
    return math.prod(float(np.linalg.norm(k, 2)) for k in kernels)
