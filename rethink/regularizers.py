"""Every public function returns a `Regularizer`.

A regularizer acts in one of the places that `rethink.hooks.Regularizer`
describes, and float arguments may be traced: their values are inputs of the
compiled step, not parts of it.
"""

import functools
from typing import Annotated, Any, Literal

import dm_pix
import jax
import jax.numpy as jnp

from rethink import errors, hooks, specs

Params = hooks.Params
_pix: Any = dm_pix  # its annotations do not know jax.Array


Regularizer = hooks.Regularizer


def weight_decay(
  coefficient: specs.NotNegative = 5e-4,
  decoupled: bool = False,
  tensors: Literal["kernels", "dense", "all"] = "kernels",
) -> Regularizer:
  """Adds coefficient/2 |w|^2 to the loss (L2, as in 2016).

  The paper prints no coefficient; 5e-4 is this project's default.

  Args:
    coefficient: of the gradient: d penalty / dw = coefficient * w.
    decoupled: instead subtract learning_rate * coefficient * w beside the
      optimizer's step (Loshchilov & Hutter 2019); the same for plain SGD.
    tensors: "kernels" of convolutions and dense layers, those of "dense"
      layers only, or "all" parameters, biases and scales included.
  """

  def decayed(path: tuple, value: jax.Array) -> bool:
    if tensors == "all":
      return True
    is_kernel = path[-1].key == "kernel"
    return is_kernel and (tensors == "kernels" or value.ndim == 2)

  def check(params: Params) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not any(decayed(path, value) for path, value in leaves):
      raise errors.ConfigError(
        f"config.regularizers: weight_decay(tensors={tensors!r}) finds nothing"
        " to decay in this model; kernels are parameters named 'kernel';"
        " tensors='all' takes every parameter"
      )

  def penalty(params: Params) -> jax.Array:
    check(params)
    squares = [
      jnp.sum(jnp.square(value.astype(jnp.float32)))
      for path, value in jax.tree_util.tree_leaves_with_path(params)
      if decayed(path, value)
    ]
    return 0.5 * coefficient * sum(squares, jnp.float32(0))

  def update(
    params: Params, before: Params, learning_rate: jax.Array
  ) -> Params:
    check(params)
    return jax.tree_util.tree_map_with_path(
      lambda path, value, old: (
        value - learning_rate * coefficient * old
        if decayed(path, value)
        else value
      ),
      params,
      before,
    )

  return (
    Regularizer(update=update) if decoupled else Regularizer(penalty=penalty)
  )


def random_crop(
  *, padding: Annotated[int, specs.Range(0, 2**15)] = 0
) -> Regularizer:
  """A random window of the model's size, another one in every epoch.

  Args:
    padding: zero pixels added on every side first (the paper's 28 of 32 pixels
      needs none).
  """

  def augment(key: jax.Array, image: jax.Array, size: int) -> jax.Array:
    image = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    if image.shape[:2] == (size, size):
      raise errors.ConfigError(
        f"config.regularizers: random_crop({padding}) cannot move a window of"
        f" {size} pixels in an image of {size}; give padding, a smaller"
        " config.image_size (images that config.central_fraction resizes have"
        " that size: random_resized_crop() cuts them), or after_crop=False to"
        " the corruption of pixels"
      )
    return _pix.random_crop(key, image, (size, size, image.shape[-1]))

  return Regularizer(augment=augment)


def random_resized_crop(
  min_area: specs.Fraction = 0.05,
  min_covered: specs.Fraction = 0.1,
  min_aspect: specs.NotNegative = 0.75,
  max_aspect: specs.NotNegative = 1.33,
) -> Regularizer:
  """A random part of an image resized to the model's, another in every epoch.

  The defaults are those of the TensorFlow Inception input of 2016. On the
  stream path the part is cut out of the stored image, elsewhere out of the
  data set's.

  Args:
    min_area: smallest part of the image's area that is drawn; the largest is 1.
    min_covered: what is drawn below this part is drawn again.
    min_aspect: smallest width / height of the part.
    max_aspect: largest.
  """

  frame = dict(
    min_area=min_area,
    min_covered=min_covered,
    min_aspect=min_aspect,
    max_aspect=max_aspect,
  )
  augment = functools.partial(hooks.resized_crop, **frame)
  return Regularizer(augment=augment, frame=frame)


def random_flip(probability: specs.Fraction = 0.5) -> Regularizer:
  """Mirrors an image left to right with this probability."""

  def augment(key: jax.Array, image: jax.Array, size: int) -> jax.Array:
    del size
    return _pix.random_flip_left_right(key, image, probability=probability)

  return Regularizer(augment=augment)


def random_rotation(degrees: specs.NotNegative = 25.0) -> Regularizer:
  """Rotates by a uniform angle in [-degrees, degrees], corners black.

  25 degrees are those of Table 4 (appendix E); the fill is not in the paper.
  """

  def augment(key: jax.Array, image: jax.Array, size: int) -> jax.Array:
    del size
    limit = jnp.deg2rad(degrees)
    angle = jax.random.uniform(key, minval=-limit, maxval=limit)
    return _pix.rotate(image, angle, mode="constant", cval=0.0)

  return Regularizer(augment=augment)


def color_jitter(
  brightness: specs.Fraction = 32 / 255,
  contrast: specs.Fraction = 0.5,
  saturation: specs.Fraction = 0.5,
  hue: specs.Fraction = 0.2,
) -> Regularizer:
  """Random brightness, contrast, saturation and hue, clipped to [0, 1].

  The defaults are the ranges of the TensorFlow Inception input of 2016:
  brightness +-32/255, contrast and saturation x 0.5 to 1.5, hue +-0.2 turns.
  Grayscale images get brightness and contrast only.
  """

  def augment(key: jax.Array, image: jax.Array, size: int) -> jax.Array:
    del size
    k1, k2, k3, k4 = jax.random.split(key, 4)
    image = _pix.random_brightness(k1, image, brightness)
    image = _pix.random_contrast(k2, image, 1 - contrast, 1 + contrast)
    if image.shape[-1] == 3:
      image = _pix.random_saturation(k3, image, 1 - saturation, 1 + saturation)
      image = _pix.random_hue(k4, image, hue)
    return jnp.clip(image, 0.0, 1.0)

  return Regularizer(augment=augment)


def dropout(rate: specs.Fraction = 0.5) -> Regularizer:
  """Sets the model's `dropout_rate`; it decides which layers drop."""
  return Regularizer(model={"dropout_rate": rate})


def label_smoothing(epsilon: specs.Fraction = 0.1) -> Regularizer:
  """Moves a mass epsilon of every target to the uniform distribution."""

  def targets(one_hot: jax.Array) -> jax.Array:
    return one_hot * (1 - epsilon) + epsilon / one_hot.shape[-1]

  return Regularizer(targets=targets)


def mixup(alpha: specs.NotNegative = 0.2) -> Regularizer:
  """Mixes each image and its target with another of the batch (Zhang 2018).

  Like the authors' program: normalized images are mixed, with one weight for
  the whole batch. Metrics of training batches (`batch/*`) compare what is
  predicted for a mixed image with the label of its first part.

  Args:
    alpha: the weight is drawn from Beta(alpha, alpha); 0 mixes nothing.
  """
  return Regularizer(batch=functools.partial(hooks.mixup, alpha=alpha))


def cutmix(alpha: specs.NotNegative = 1.0) -> Regularizer:
  """Pastes a box of another image of the batch into each (Yun et al. 2019).

  Targets are mixed by area. Like the authors' program: normalized images are
  cut, with one box for the whole batch, centred on any pixel and cut off at the
  border. `batch/*` is as for `mixup`.

  Args:
    alpha: the share of the image that is kept, before the box is cut off, is
      drawn from Beta(alpha, alpha); 0 pastes nothing.
  """
  return Regularizer(batch=functools.partial(hooks.cutmix, alpha=alpha))


def sam(rho: specs.NotNegative = 0.05) -> Regularizer:
  """Descends along the gradient at params + rho g / |g| (Foret et al. 2021).

  Two passes in each step, over the same images with the same dropout. Penalties
  count in both; the statistics of batch norm are those of the first pass, at
  the unperturbed parameters, as in the authors' program (google-research/sam),
  and so are `batch/*`. The norm is that of the whole batch's gradient over all
  devices; the authors perturb on each device by its own part.

  Args:
    rho: Euclidean length of the perturbation.
  """

  def gradient(gradients, params, key, step):
    del key, step
    return hooks.sam(gradients, params, rho)

  return Regularizer(gradient=gradient)


def gradient_noise(
  scale: specs.NotNegative = 0.01, gamma: specs.NotNegative = 0.55
) -> Regularizer:
  """Adds normal noise of variance scale / (1 + step)^gamma to the gradients.

  Neelakantan et al. (2015), where `scale` (their eta) is 0.01, 0.3 or 1.

  Args:
    scale: the variance at step 0.
    gamma: how fast it falls.
  """

  def gradient(gradients, params, key, step):
    found, aux = gradients(params)
    variance = scale / jnp.power(1.0 + step, gamma)
    return hooks.add_noise(key, found, jnp.sqrt(variance)), aux

  return Regularizer(gradient=gradient)


def gradient_clipping(max_norm: specs.NotNegative = 1.0) -> Regularizer:
  """Scales the gradients down to a Euclidean norm of `max_norm` over all.

  It clips what the regularizers before it return: after `sam()` SAM's
  gradients, before it those of both passes.
  """

  def gradient(gradients, params, key, step):
    del key, step
    found, aux = gradients(params)
    return hooks.clip(found, max_norm), aux

  return Regularizer(gradient=gradient)
