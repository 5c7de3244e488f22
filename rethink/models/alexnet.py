"""Small AlexNet for CIFAR-10 (paper, appendix A).

The paper gives neither filters nor strides. With 64 filters, SAME padding and
pooling with stride 2 the network has exactly the paper's 1,387,786 parameters.
The constants of the normalization are those of the TensorFlow CIFAR-10
tutorial.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rethink import models, specs
from rethink.cpu import convolutions, pooling


def local_response_normalization(
  x: jax.Array,
  radius: int = 4,
  bias: float = 1.0,
  alpha: float = 0.001 / 9,
  beta: float = 0.75,
) -> jax.Array:
  """Divides x by (bias + alpha * sum of squares over near channels)^beta.

  Args:
    x: [n, height, width, channels].
    radius: channels on either side of the normalized one.
    bias: keeps the base away from 0.
    alpha: weight of the squares; the tutorial's 0.001 over 9 channels.
    beta: exponent.
  """
  # bfloat16 would lose the sum of the squares beside the bias.
  squares = jnp.square(x.astype(jnp.float32))
  window = jax.lax.reduce_window(
    squares, 0.0, jax.lax.add, (1, 1, 1, 2 * radius + 1), (1,) * 4, "SAME"
  )
  return (x / (bias + alpha * window) ** beta).astype(x.dtype)


class Model(nn.Module):
  """Two modules (conv 5x5, max-pool 3x3, LRN), dense 384, dense 192, linear.

  Attributes:
    num_classes: number of logits.
    width: factor on the numbers of filters and units; 1.0 is the paper's
      network.
    dropout_rate: rate of the dropout after the two dense layers.
    kernel_init: call of a function of `flax.linen.initializers`. The paper does
      not give its initializer.
  """

  num_classes: int
  width: models.Width = 1.0
  dropout_rate: specs.Fraction = 0.0
  kernel_init: str = "he_normal"

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    init = models.initializer(self.kernel_init)
    x = images
    for _ in range(2):
      x = nn.Conv(
        round(64 * self.width),
        (5, 5),
        kernel_init=init,
        conv_general_dilated=convolutions.conv_general_dilated,
      )(x)
      x = pooling.max_pool(nn.relu(x))
      x = local_response_normalization(x)
    x = x.reshape(len(x), -1)
    for units in (384, 192):
      x = nn.Dense(round(units * self.width), kernel_init=init)(x)
      x = nn.Dropout(self.dropout_rate, deterministic=not train)(nn.relu(x))
    return nn.Dense(self.num_classes, kernel_init=init)(x)
