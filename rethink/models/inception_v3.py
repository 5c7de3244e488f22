"""Inception V3 for ImageNet (paper, section 3 and Table 2).

Filters, paddings, poolings and the scale of the initial weights are those of
the TensorFlow package that the paper used (`inception/slim/inception_model.py`
of 2016, for Szegedy et al. 2016).
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from rethink import errors, models, specs
from rethink.models import inception

SMALLEST = 75  # pixels on a side, which leave one pixel on the last grid

Size = tuple[int, int]  # height and width of a kernel
Layer = tuple[int, Size]  # number of filters, and their size
# Filters of the pooling branch, for each module on the first grid.
_POOL_FILTERS = (32, 64, 64)
# Filters inside the 7x7 branches, for each module on the second grid.
_FILTERS_7X7 = (128, 160, 160, 192)


def _mean_3x3(x: jax.Array) -> jax.Array:
  """Averages 3x3 windows with stride 1; padding does not count."""
  mean = nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)
  return mean.astype(x.dtype)  # Flax divides by a float32 count of pixels


def _max_3x3(x: jax.Array) -> jax.Array:
  """Takes maxima of 3x3 windows with stride 2, without padding."""
  return nn.max_pool(x, (3, 3), strides=(2, 2))


class AuxiliaryHead(nn.Module):
  """A second classifier on the second grid, used only in training.

  Attributes:
    num_classes: number of logits.
    conv: (filters, size, **attributes) -> `inception.ConvModule`.
  """

  num_classes: int
  conv: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    window = (min(5, x.shape[1]), min(5, x.shape[2]))
    x = nn.avg_pool(x, window, strides=(3, 3))
    x = self.conv(128, (1, 1))(x, train=train)
    x = self.conv(
      768,
      (x.shape[1], x.shape[2]),
      padding="VALID",
      kernel_init="truncated_normal(stddev=0.01)",
    )(x, train=train)
    init = nn.initializers.truncated_normal(0.001)
    return nn.Dense(self.num_classes, kernel_init=init)(x.reshape(len(x), -1))


class Model(nn.Module):
  """Stem, eleven inception modules, global mean pooling, linear.

  It has 23,817,352 parameters for 1,000 classes, 23,834,568 with `scale`, and
  27,161,264 with `scale` and the auxiliary head at 299 pixels. Images must have
  at least 75 pixels on a side.

  Attributes:
    num_classes: number of logits.
    auxiliary_weight: weight of the auxiliary head's cross-entropy in the
      training loss; 0 leaves the head out. The TensorFlow package has 0.4.
    scale: if True, batch norm has a scale (gamma) besides its shift. In the
      TensorFlow package it has none.
    width: factor on all numbers of filters; 1.0 is Inception V3.
    momentum: momentum of batch norm's running statistics. The TensorFlow
      package has 0.9997, with which a fitted network looks unfitted on small
      data, because the statistics lag behind.
    epsilon: added to the variance in batch norm.
    dropout_rate: rate of the dropout before the linear layer. The TensorFlow
      package has 0.2.
    kernel_init: initializer of the convolutions, a call of a function of
      `flax.linen.initializers`.
  """

  num_classes: int
  auxiliary_weight: specs.NotNegative = 0.0
  scale: bool = False
  width: models.Width = 1.0
  momentum: specs.Fraction = 0.9
  epsilon: specs.NotNegative = 1e-3
  dropout_rate: specs.Fraction = 0.0
  kernel_init: str = "truncated_normal(stddev=0.1)"

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
    if min(images.shape[1:3]) < SMALLEST:
      raise errors.ConfigError(
        f"config.model: inception_v3 needs images of {SMALLEST} pixels or more"
        f" on a side, not {min(images.shape[1:3])}; raise config.image_size"
      )

    def module(filters: int, size: Size, **attributes) -> nn.Module:
      return inception.ConvModule(
        round(filters * self.width),
        size,
        **{"kernel_init": self.kernel_init, **attributes},
        batch_norm=True,
        momentum=self.momentum,
        epsilon=self.epsilon,
        scale=self.scale,
      )

    def conv(x: jax.Array, *layers: Layer) -> jax.Array:
      for filters, size in layers:
        x = module(filters, size)(x, train=train)
      return x

    def shrink(x: jax.Array, filters: int, stride: int = 2) -> jax.Array:
      return module(filters, (3, 3), stride=stride, padding="VALID")(
        x, train=train
      )

    join = functools.partial(jnp.concatenate, axis=-1)

    x = shrink(images, 32)
    x = shrink(x, 32, stride=1)
    x = _max_3x3(conv(x, (64, (3, 3))))
    x = shrink(conv(x, (80, (1, 1))), 192, stride=1)
    x = _max_3x3(x)

    # The first grid, 35x35 at 299 pixels.
    for pool_filters in _POOL_FILTERS:
      x = join(
        (
          conv(x, (64, (1, 1))),
          conv(x, (48, (1, 1)), (64, (5, 5))),
          conv(x, (64, (1, 1)), (96, (3, 3)), (96, (3, 3))),
          conv(_mean_3x3(x), (pool_filters, (1, 1))),
        )
      )

    # The second grid, 17x17.
    deep = conv(x, (64, (1, 1)), (96, (3, 3)))
    x = join((shrink(x, 384), shrink(deep, 96), _max_3x3(x)))
    for n in _FILTERS_7X7:
      twice = ((n, (1, 1)), (n, (7, 1)), (n, (1, 7)), (n, (7, 1)))
      x = join(
        (
          conv(x, (192, (1, 1))),
          conv(x, (n, (1, 1)), (n, (1, 7)), (192, (7, 1))),
          conv(x, *twice, (192, (1, 7))),
          conv(_mean_3x3(x), (192, (1, 1))),
        )
      )
    if self.auxiliary_weight and (train or self.is_initializing()):
      head = AuxiliaryHead(self.num_classes, module)(x, train=train)
      if train:
        self.sow("auxiliary", "logits", head)

    # The third grid, 8x8.
    wide = conv(x, (192, (1, 1)))
    deep = conv(x, (192, (1, 1)), (192, (1, 7)), (192, (7, 1)))
    x = join((shrink(wide, 320), shrink(deep, 192), _max_3x3(x)))
    for _ in range(2):
      wide = conv(x, (384, (1, 1)))
      deep = conv(x, (448, (1, 1)), (384, (3, 3)))
      x = join(
        (
          conv(x, (320, (1, 1))),
          *(conv(wide, (384, size)) for size in ((1, 3), (3, 1))),
          *(conv(deep, (384, size)) for size in ((1, 3), (3, 1))),
          conv(_mean_3x3(x), (192, (1, 1))),
        )
      )

    x = x.mean(axis=(1, 2))
    x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
    init = nn.initializers.truncated_normal(0.01)
    return nn.Dense(self.num_classes, kernel_init=init)(x)
