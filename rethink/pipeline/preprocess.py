"""Preprocessing on the device: augmentation, centre crop, normalization."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rethink import example


def standardize(images: jax.Array) -> jax.Array:
  """Returns (x - mean) / max(std, 1/sqrt(N)) over all N values of each image.

  It is TensorFlow's `per_image_whitening` of 2016, the last preprocessing step
  of the paper (appendix A). Images are float32[batch, height, width, channels]
  in [0, 1].
  """
  axes = (1, 2, 3)
  values = images.shape[1] * images.shape[2] * images.shape[3]
  mean = images.mean(axes, keepdims=True)
  std = jnp.sqrt(jnp.square(images - mean).mean(axes, keepdims=True))
  return (images - mean) / jnp.maximum(std, values**-0.5)


def symmetric(images: jax.Array) -> jax.Array:
  """Maps [0, 1] to [-1, 1], the last step of the TensorFlow Inception input."""
  return 2 * images - 1


# The values that `config.normalize` may have.
NORMALIZE = {"per_image": standardize, "symmetric": symmetric}


def evaluation(
  images: jax.Array, size: int, normalize: str = "per_image"
) -> jax.Array:
  """Prepares uint8 images for evaluation, without augmentation.

  Args:
    images: uint8[batch, height, width, channels].
    size: side of the centre crop, in pixels.
    normalize: a key of `NORMALIZE`.

  Returns:
    float32[batch, size, size, channels].
  """
  images = images.astype(jnp.float32) / 255
  return NORMALIZE[normalize](example.center_crop(images, size))


def on_host(
  images: np.ndarray, size: int, batch_size: int, normalize: str = "per_image"
) -> np.ndarray:
  """Applies `evaluation` to all images of a split and returns a NumPy array.

  Methods that need all images at once, such as kernels, use this.

  Args:
    images: uint8[n, height, width, channels].
    size: side of the centre crop, in pixels.
    batch_size: number of images processed at a time.
    normalize: a key of `NORMALIZE`.
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
  """Prepares uint8 images for training: augments them, then as `evaluation`.

  Args:
    key: JAX key, split into one key per image and augmentation.
    images: uint8[batch, height, width, channels].
    augments: (key, image, size) -> image, applied in order to every image.
    size: side of the centre crop, in pixels. If an augmentation has already
      cropped to it, the centre crop changes nothing.
    normalize: a key of `NORMALIZE`.

  Returns:
    float32[batch, size, size, channels].
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
