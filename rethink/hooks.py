"""The places where a regularizer can act, and the mathematics of some of them.

The functions here are pure: of images, batches, or of a function that computes
gradients. `rethink/regularizers.py` gives them their names and arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Params = Any
# params -> (gradients, what the loss function returns besides the loss)
Gradients = Callable[[Params], tuple[Params, Any]]

_CROP_ATTEMPTS = 10
# Folded into a step's key. 0 and 1 are taken: folding them in is what the split
# into the keys of augmentation and dropout does.
_BATCH, _GRADIENT = 2, 3


class Regularizer(NamedTuple):
  """The places where a regularizer can act; unset ones do nothing.

  Of several regularizers the first acts first, in every place.

  Attributes:
    augment: (key, image, size) -> image; one training image, float32
      [height, width, channels] in [0, 1], before the centre crop to `size`.
    frame: how the stream path cuts a training image out while it decodes it,
      in place of `augment`: arguments of `pipeline.crops.RandomCrop`.
    batch: (key, images, targets) -> (images, targets); float32[batch, height,
      width, channels], augmented, cropped and normalized, and the one-hot
      float32[batch, classes].
    targets: (one_hot) -> targets; float32[batch, classes].
    penalty: (params) -> scalar added to the training loss, never to a metric.
    gradient: (gradients, params, key, step) -> (gradients, aux); the argument
      `gradients` maps parameters to their gradients of the training loss and
      aux, which comes from the regularizers before this one. What is returned
      as aux gives the step its batch statistics and metrics.
    update: (params, before, learning_rate) -> params; after the optimizer's
      step, which led from `before` to `params`.
    model: arguments for the model's constructor, in place of those in the
      model's call. Not traced: each value has a program of its own.
  """

  augment: Callable[[jax.Array, jax.Array, int], jax.Array] | None = None
  frame: Mapping[str, float] | None = None
  batch: (
    Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    | None
  ) = None
  targets: Callable[[jax.Array], jax.Array] | None = None
  penalty: Callable[[Params], jax.Array] | None = None
  gradient: (
    Callable[[Gradients, Params, jax.Array, jax.Array], tuple[Params, Any]]
    | None
  ) = None
  update: Callable[[Params, Params, jax.Array], Params] | None = None
  model: Mapping[str, Any] = {}


def apply_batch(
  hooks: Sequence[Regularizer],
  key: jax.Array,
  images: jax.Array,
  targets: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Lets every batch hook act, each with a key of its own.

  Args:
    hooks: the regularizers, in order.
    key: of the step.
    images: as `Regularizer.batch` takes them.
    targets: likewise.
  """
  for i, hook in enumerate(hooks):
    if hook.batch:
      own = jax.random.fold_in(jax.random.fold_in(key, _BATCH), i)
      images, targets = hook.batch(own, images, targets)
  return images, targets


def wrap_gradients(
  hooks: Sequence[Regularizer],
  key: jax.Array,
  step: jax.Array,
  gradients: Gradients,
) -> Gradients:
  """Wraps a gradient function in every gradient hook, the first innermost.

  Args:
    hooks: the regularizers, in order.
    key: of the step.
    step: int32, steps done before.
    gradients: of the training loss.
  """
  for i, hook in enumerate(hooks):
    if hook.gradient:
      own = jax.random.fold_in(jax.random.fold_in(key, _GRADIENT), i)
      gradients = _wrap(hook.gradient, gradients, own, step)
  return gradients


def _wrap(outer, inner, key, step) -> Gradients:
  return lambda params: outer(inner, params, key, step)


def resized_crop(
  key: jax.Array,
  image: jax.Array,
  size: int,
  min_area: float,
  min_covered: float,
  min_aspect: float,
  max_aspect: float,
) -> jax.Array:
  """Cuts a random part out of an image and resizes it to `size` pixels."""
  height, width, channels = image.shape
  shape, part, y, x = jax.random.uniform(key, (4, _CROP_ATTEMPTS))
  aspect = min_aspect + shape * (max_aspect - min_aspect)
  highest = jnp.minimum(
    jnp.sqrt(height * width / aspect), jnp.minimum(height, width / aspect)
  )
  lowest = jnp.minimum(jnp.sqrt(min_area * height * width / aspect), highest)
  h = lowest + part * (highest - lowest)
  # The whole image, if no part covers enough.
  fits = jnp.append(h * h * aspect >= min_covered * height * width, True)
  first = jnp.argmax(fits)
  h, w = jnp.append(h, height)[first], jnp.append(h * aspect, width)[first]
  corner = jnp.stack(
    [
      jnp.append(y, 0)[first] * (height - h),
      jnp.append(x, 0)[first] * (width - w),
    ]
  )
  scale = jnp.stack([size / h, size / w])
  return jax.image.scale_and_translate(
    image,
    (size, size, channels),
    (0, 1),
    scale,
    -corner * scale,
    method="linear",
    antialias=False,
  )


def mixing_weight(key: jax.Array, alpha: float | jax.Array) -> jax.Array:
  """Draws a weight from Beta(alpha, alpha); 1 for alpha = 0."""
  positive = jnp.where(alpha > 0, alpha, 1.0)
  # As jax.random.beta does it, with one loop to compile instead of two.
  pair = jax.nn.softmax(jax.random.loggamma(key, positive, (2,)))
  return jnp.where(alpha > 0, pair[0], 1.0)


def mixup(
  key: jax.Array,
  images: jax.Array,
  targets: jax.Array,
  alpha: float | jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Mixes every image and target with those of a partner in the batch."""
  weight_key, order_key = jax.random.split(key)
  weight = mixing_weight(weight_key, alpha)
  partner = jax.random.permutation(order_key, len(images))
  return (
    weight * images + (1 - weight) * images[partner],
    weight * targets + (1 - weight) * targets[partner],
  )


def cutmix(
  key: jax.Array,
  images: jax.Array,
  targets: jax.Array,
  alpha: float | jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Pastes a box of a partner into every image; the area weighs the targets."""
  weight_key, order_key, y_key, x_key = jax.random.split(key, 4)
  weight = mixing_weight(weight_key, alpha)
  partner = jax.random.permutation(order_key, len(images))

  def inside(key: jax.Array, length: int) -> jax.Array:
    """Returns bool[length], true inside a box whose centre is random."""
    half = jnp.floor(length * jnp.sqrt(1 - weight)).astype(jnp.int32) // 2
    centre, at = jax.random.randint(key, (), 0, length), jnp.arange(length)
    return (at >= centre - half) & (at < centre + half)

  height, width = images.shape[1:3]
  box = inside(y_key, height)[:, None] & inside(x_key, width)[None]
  kept = 1 - jnp.mean(box, dtype=jnp.float32)
  return (
    jnp.where(box[None, :, :, None], images[partner], images),
    kept * targets + (1 - kept) * targets[partner],
  )


def sam(
  gradients: Gradients, params: Params, rho: float | jax.Array
) -> tuple[Params, Any]:
  """Returns the gradients at the point within rho where the loss is highest.

  Highest to first order: params + rho g / |g| for the gradients g.
  """
  ascent, aux = gradients(params)
  norm = optax.tree.norm(ascent)
  scale = rho / jnp.where(norm > 0, norm, 1.0)
  highest = jax.tree.map(lambda p, g: p + scale * g, params, ascent)
  return gradients(highest)[0], aux


def add_noise(key: jax.Array, tree: Params, deviation: jax.Array) -> Params:
  """Adds independent normal noise of this standard deviation to every leaf."""
  leaves, structure = jax.tree.flatten(tree)
  keys = jax.random.split(key, len(leaves))
  return structure.unflatten(
    [
      leaf + deviation * jax.random.normal(key, leaf.shape, leaf.dtype)
      for key, leaf in zip(keys, leaves, strict=True)
    ]
  )


def clip(tree: Params, max_norm: float | jax.Array) -> Params:
  """Scales a tree down to a global norm of `max_norm`, if it is above."""
  norm = optax.tree.norm(tree)
  scale = jnp.where(norm > max_norm, max_norm / norm, 1.0)
  return jax.tree.map(lambda x: x * scale, tree)
