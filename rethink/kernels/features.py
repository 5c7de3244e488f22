"""Feature extraction: every public function is a step of `config.features`.

A step estimates what it needs on the training images and returns the function
that is then applied to training and test images alike. Steps are written as
calls in strings and applied in order: ("standardize()", "gabor()"). Images are
float32 [n, height, width, channels] in [0, 1]; without any step the features
are the raw pixels.
"""

from collections.abc import Callable
from typing import Annotated

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from rethink import errors, specs
from rethink.kernels import convolution, feature_ops

# What every public function gets first, by position.
LEADING = ("images",)

Map = Callable[[np.ndarray], np.ndarray]
_AtLeastOne = Annotated[int, specs.Range(1, 1e9)]


def standardize(images: np.ndarray, epsilon: specs.NotNegative = 1e-8) -> Map:
  """Scales every feature to mean 0 and variance 1 over the training images.

  No linear function of centred features equals 1 at every training image, so
  the kernel linear() cannot interpolate one-hot labels after this step. Use
  polynomial(degree=1), which adds a constant feature.

  Args:
    images: float32[n, ...], training split.
    epsilon: added to the variance.
  """
  mean = images.mean(0, dtype=np.float64)
  scale = 1 / np.sqrt(images.var(0, dtype=np.float64) + epsilon)
  mean, scale = mean.astype(np.float32), scale.astype(np.float32)
  return lambda rows: (rows - mean) * scale


def whiten(images: np.ndarray, epsilon: specs.NotNegative = 0.01) -> Map:
  """Decorrelates all features by ZCA, which changes them as little as possible.

  Args:
    images: float32[n, ...], training split.
    epsilon: added to the eigenvalues of the covariance; with 0, rounding errors
      in directions of variance 0 are blown up to noise.
  """
  shape = images.shape[1:]
  flat = images.reshape(len(images), -1)
  mean, zca = (x.astype(np.float32) for x in feature_ops.zca(flat, epsilon))
  return lambda rows: ((rows.reshape(len(rows), -1) - mean) @ zca).reshape(
    -1, *shape
  )


def normalize(images: np.ndarray, epsilon: specs.NotNegative = 1e-8) -> Map:
  """Scales every image to mean 0 and length 1: no brightness, no contrast."""
  del images

  def apply(rows: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, rows.ndim))
    rows = rows - rows.mean(axes, keepdims=True)
    squares = np.sum(rows**2, axes, keepdims=True)
    return rows / np.sqrt(squares + np.float32(epsilon))

  return apply


def gabor(
  images: np.ndarray,
  orientations: _AtLeastOne = 8,
  wavelengths: Annotated[tuple[float, ...], specs.Range(0.1, 1e6)] = (4.0, 8.0),
  pool: _AtLeastOne = 2,
) -> Map:
  """Computes magnitudes of complex Gabor filters, averaged over small squares.

  The paper names Gabor wavelets for MNIST and gives no filter bank. This one
  has isotropic envelopes of sigma = 0.56 wavelength (one octave of bandwidth)
  in windows of 6 sigma: `cv2.getGaborKernel` at phases 0 and 90 degrees, each
  shifted to mean 0, each pair scaled to length 1. Images are padded with zeros.

  Args:
    images: float32[n, height, width, channels]; only the shape matters.
    orientations: number of orientations, evenly spaced in 180 degrees.
    wavelengths: wavelengths of the carriers, in pixels.
    pool: side of the squares over which magnitudes are averaged, in pixels.
  """
  _check_images(images, "gabor")
  if not wavelengths or min(wavelengths) < 2:
    raise errors.ConfigError(
      f"config.features: in gabor(wavelengths={wavelengths}) every wavelength"
      " must be 2 pixels or more"
    )
  banks = [
    jnp.asarray(_gabor_bank(orientations, wavelength))
    for wavelength in wavelengths
  ]

  @jax.jit
  def magnitudes(rows):
    # Channels are filtered one by one: [n * channels, height, width, 1].
    n, height, width, channels = rows.shape
    rows = rows.transpose(0, 3, 1, 2).reshape(-1, height, width, 1)
    pooled = []
    for bank in banks:
      both = feature_ops.convolve(rows, bank, "SAME")
      even, odd = jnp.split(both, 2, axis=-1)
      pooled.append(
        feature_ops.mean_pool(jnp.sqrt(even**2 + odd**2), pool, pool)
      )
    out = jnp.concatenate(pooled, -1)
    return out.reshape(n, channels, -1).reshape(n, -1)

  return lambda rows: feature_ops.in_chunks(magnitudes, rows)


def random_convolution(
  images: np.ndarray,
  filters: _AtLeastOne = 1024,
  patch: _AtLeastOne = 6,
  alpha: specs.NotNegative = 0.25,
  epsilon: specs.NotNegative = 0.1,
  seed: specs.Seed = 0,
) -> convolution.Filters:
  """Computes eight features for each of many random patches; the last step.

  Returns the filters rather than a function: their features, which may exceed
  the memory, are computed in blocks; see `convolution.Filters` for the
  arguments. The paper's network has 32,000 filters.
  """
  _check_images(images, "random_convolution")
  return convolution.Filters(images, filters, patch, alpha, epsilon, seed)


def _check_images(images: np.ndarray, name: str) -> None:
  if images.ndim != 4:
    raise errors.ConfigError(
      f"config.features: {name}() needs images, but an earlier step has"
      " flattened them; move it before that step"
    )


def _gabor_bank(orientations: int, wavelength: float) -> np.ndarray:
  """Makes float32[side, side, 1, 2 * orientations]: even filters, then odd."""
  sigma = 0.56 * wavelength
  side = 2 * int(np.ceil(3 * sigma)) + 1
  pairs = []
  for k in range(orientations):
    theta = np.pi * k / orientations
    pair = np.stack(
      [
        cv2.getGaborKernel(
          (side, side), sigma, theta, wavelength, 1.0, phase, cv2.CV_64F
        )
        for phase in (0.0, np.pi / 2)
      ]
    )
    pair -= pair.mean((1, 2), keepdims=True)
    pairs.append(pair / np.sqrt(np.sum(pair**2)))
  bank = np.stack(pairs).transpose(2, 3, 1, 0)  # side, side, phase, k
  return bank.reshape(side, side, 1, -1).astype(np.float32)
