"""What a model sees of an image: augment, centre crop, normalize."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rethink import example


def standardize(images: jax.Array) -> jax.Array:
  """(x - mean) / max(std, 1/sqrt(N)) over all N values of each image.

  TensorFlow's `per_image_whitening` of 2016, the paper's last step (appendix
  A). Images are float32[batch, height, width, channels] in [0, 1].
  """
  axes = (1, 2, 3)
  values = images.shape[1] * images.shape[2] * images.shape[3]
  mean = images.mean(axes, keepdims=True)
  std = jnp.sqrt(jnp.square(images - mean).mean(axes, keepdims=True))
  return (images - mean) / jnp.maximum(std, values**-0.5)


def symmetric(images: jax.Array) -> jax.Array:
  """[0, 1] to [-1, 1]: the last step of the TensorFlow Inception input."""
  return 2 * images - 1


# What `config.normalize` may be.
NORMALIZE = {"per_image": standardize, "symmetric": symmetric}


def evaluation(
  images: jax.Array, size: int, normalize: str = "per_image"
) -> jax.Array:
  """uint8 images as float32[batch, size, size, channels], never augmented."""
  images = images.astype(jnp.float32) / 255
  return NORMALIZE[normalize](example.center_crop(images, size))


def on_host(
  images: np.ndarray, size: int, batch_size: int, normalize: str = "per_image"
) -> np.ndarray:
  """`evaluation` of all images of a split, for what does not work in batches.

  Args:
    images: uint8[n, height, width, channels].
    size: of the crop, pixels.
    batch_size: images at a time.
    normalize: as in `NORMALIZE`.
  """
  view = jax.jit(evaluation, static_argnames=("size", "normalize"))
  return np.concatenate(
    [
      np.asarray(
        view(images[start : start + batch_size], size=size, normalize=normalize)
      )
      for start in range(0, len(images), batch_size)
    ]
  )


def training(
  key: jax.Array,
  images: jax.Array,
  augments: Sequence[Callable],
  size: int,
  normalize: str = "per_image",
) -> jax.Array:
  """Like `evaluation`, with `augments` in their order on every image.

  The centre crop is the identity if an augmentation has cropped already.
  """
  if not augments:
    return evaluation(images, size, normalize)

  def one(key: jax.Array, image: jax.Array) -> jax.Array:
    keys = jax.random.split(key, len(augments))
    return functools.reduce(
      lambda x, step: step[1](step[0], x, size),
      zip(keys, augments, strict=True),
      image,
    )

  keys = jax.random.split(key, len(images))
  augmented = jax.vmap(one)(keys, images.astype(jnp.float32) / 255)
  return NORMALIZE[normalize](example.center_crop(augmented, size))
