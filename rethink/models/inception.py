"""Small Inception for CIFAR-10 (paper, appendix A and Figure 3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rethink import models, specs
from rethink.cpu import convolutions, pooling

# The blocks of the paper's Figure 3, from top to bottom: (1x1 filters, 3x3
# filters) of an inception module, or the 3x3 filters of a downsample module.
_BLOCKS = (
  (32, 32),
  (32, 48),
  80,
  (112, 48),
  (96, 64),
  (80, 80),
  (48, 96),
  96,
  (176, 160),
  (176, 160),
)


class ConvModule(nn.Module):
  """Convolution, batch norm, ReLU.

  Besides its weights a filter has one parameter: the shift of batch norm or,
  without batch norm, the bias. TF-slim of 2016 has no scale, and the equal
  parameter counts in the paper confirm it. `scale` adds the scale of batch
  norm.
  """

  filters: int
  size: tuple[int, int]
  batch_norm: bool
  momentum: float
  epsilon: float
  kernel_init: str
  stride: int = 1
  padding: str = "SAME"
  scale: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    x = nn.Conv(
      self.filters,
      self.size,
      strides=self.stride,
      padding=self.padding,
      use_bias=not self.batch_norm,
      kernel_init=models.initializer(self.kernel_init),
      conv_general_dilated=convolutions.conv_general_dilated,
    )(x)
    if self.batch_norm:
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=self.momentum,
        epsilon=self.epsilon,
        use_scale=self.scale,
      )(x)
    return nn.relu(x)


class Model(nn.Module):
  """Ten blocks, global mean pooling, linear: 1,649,402 parameters.

  Attributes:
    num_classes: number of logits.
    batch_norm: False gives the paper's "Inception w/o BatchNorm".
    width: factor on all numbers of filters; 1.0 is the paper's network.
    momentum: momentum of batch norm's running statistics. On small data they
      lag behind with 0.999, and a fitted network looks unfitted.
    epsilon: added to the variance in batch norm.
    dropout_rate: rate of the dropout before the linear layer.
    kernel_init: call of a function of `flax.linen.initializers`. The paper does
      not give its initializer.
  """

  num_classes: int
  batch_norm: bool = True
  width: models.Width = 1.0
  momentum: specs.Fraction = 0.9
  epsilon: specs.NotNegative = 1e-3
  dropout_rate: specs.Fraction = 0.0
  kernel_init: str = "he_normal"

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    def conv(x, filters, size, stride=1):
      return ConvModule(
        round(filters * self.width),
        (size, size),
        self.batch_norm,
        self.momentum,
        self.epsilon,
        self.kernel_init,
        stride,
      )(x, train=train)

    x = conv(images, 96, 3)
    for block in _BLOCKS:
      if isinstance(block, tuple):
        branches = (conv(x, block[0], 1), conv(x, block[1], 3))
      else:
        pooled = pooling.max_pool(x)
        branches = (conv(x, block, 3, stride=2), pooled)
      x = jnp.concatenate(branches, axis=-1)
    x = x.mean(axis=(1, 2))
    x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
    init = models.initializer(self.kernel_init)
    return nn.Dense(self.num_classes, kernel_init=init)(x)
