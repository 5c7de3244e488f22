"""Random convolutional features in blocks of filters, and their Gram matrix.

The random conv-net of the paper's Table 3: Coates & Ng (2012) with randomly
selected patches in place of learned filters.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rethink import bits, errors
from rethink.kernels import feature_ops, memory, tiles

_PER_FILTER = 8  # two rectifiers in four quadrants
_PATCHES = 100_000  # from which the whitening is estimated
_CONTRAST = 10 / 255**2  # the 10 of Coates & Ng, whose pixels go to 255
_BLOCK = 256  # filters at a time


class Filters:
  """Whitened random patches of training images, as filters.

  A patch of an image (side x side x channels, stride 1) has its mean removed,
  is divided by sqrt(variance + 10 / 255^2) and ZCA-whitened, w = W (x - m). A
  filter is such a patch of a training image at a random position, scaled to
  length 1. Its response a goes through max(0, a - alpha) and
  max(0, -a - alpha), each averaged over the quadrants of the image (which share
  their border where the responses are odd in number): eight features a filter.

  Attributes:
    count: filters.
    num_features: eight a filter, and a constant (see `ConvolutionGram`).
  """

  def __init__(
    self,
    images: np.ndarray,
    count: int,
    side: int = 6,
    alpha: float = 0.25,
    epsilon: float = 0.1,
    seed: int = 0,
  ):
    """Selects patches and estimates their whitening.

    Args:
      images: float32[n, height, width, channels] in [0, 1], training split.
      count: filters; those of a smaller count are the first of a larger one.
      side: of a patch, in pixels.
      alpha: threshold of the rectifiers.
      epsilon: added to the eigenvalues of the patches' covariance.
      seed: selects patches; a stream of its own.

    Raises:
      ConfigError: if a patch is larger than the images allow.
    """
    if side >= min(images.shape[1:3]):
      raise errors.ConfigError(
        f"features: a patch of {side} pixels needs larger images than"
        f" {images.shape[1]}x{images.shape[2]}"
      )
    self.count, self._side, self._alpha = count, side, alpha
    self.num_features = count * _PER_FILTER + 1
    mean, whitening = feature_ops.zca(
      _patches(
        images, min(_PATCHES, 50 * len(images)), side, seed, "whitening"
      ),
      epsilon,
    )
    chosen = _patches(images, count, side, seed, "filters")
    chosen = (chosen - mean) @ whitening
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True) + 1e-12
    # <f, W (x - m)> = <W f, x> - <W f, m>, as W is symmetric.
    weights = chosen @ whitening
    self._offsets = (weights @ mean).astype(np.float32)
    bank = weights.T.reshape(side, side, images.shape[3], count)
    self._bank = bank.astype(np.float32)

  def blocks(self) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """Maps from images to float32[n, features] of a few filters each."""
    for start in range(0, self.count, _BLOCK):
      bank = jnp.asarray(self._bank[..., start : start + _BLOCK])
      offsets = jnp.asarray(self._offsets[start : start + _BLOCK])
      yield lambda images, bank=bank, offsets=offsets: feature_ops.in_chunks(
        lambda part: _features(part, bank, offsets, self._alpha), images
      )


class ConvolutionGram:
  """F F^T of standardized features F that are never held together.

  Each pass over the features computes them anew, a block of filters at a time,
  every feature with mean 0 and variance 1 over the training images. One more
  feature is the constant 1: with all means removed no function could be 1 at
  every training image. See `gram.Gram` for the interface.
  """

  def __init__(
    self,
    filters: Filters,
    images: np.ndarray,
    tile: int = 0,
    hold: bool = False,
  ):
    """Takes images; nothing is computed yet.

    Args:
      filters: whose features.
      images: float32[n, height, width, channels] in [0, 1], training split.
      tile: rows of a tile, see `tiles.layout`.
      hold: keep K in float64, so that only `fill` and `predict` pass over the
        features: twice the memory of a float32 factor.
    """
    self.layout = tiles.layout(len(images), tile)
    self.points, self._filters, self._hold = images, filters, hold
    self._held: tiles.Tiles = []

  def bytes(self, n: int) -> int:
    block = min(_BLOCK, self._filters.count) * _PER_FILTER
    held = tiles.layout(n, self.layout.size).lower_bytes(8) if self._hold else 0
    return 4 * n * (self.points[0].size + 3 * block) + held

  def _passes(self, *others: np.ndarray) -> Iterator[list[np.ndarray]]:
    """For each block, its features of the training images and of others."""
    for block in self._filters.blocks():
      train = block(self.points)
      shift, scale = _moments(train)
      yield [
        (features - shift) * scale
        for features in (train, *(block(images) for images in others))
      ]
    yield [
      np.ones((len(images), 1), np.float32) for images in (self.points, *others)
    ]

  def fill(self, dtype: str, shift: float) -> tiles.Tiles:
    with jax.enable_x64(True):
      if not self._hold:
        return self._sum(dtype, shift)
      if not self._held:
        self._held = self._sum("float64", 0.0)
      return [
        [
          tiles.shifted(tile, shift if j == i else 0.0, dtype=dtype)
          for j, tile in enumerate(row)
        ]
        for i, row in enumerate(self._held)
      ]

  def _sum(self, dtype: str, shift: float) -> tiles.Tiles:
    """F F^T + shift I, a block of features after the other."""
    layout, size = self.layout, self.layout.size
    # subtract_product accumulates -F F^T.
    lower = [
      [jnp.zeros((size, size), dtype) for _ in range(i + 1)]
      for i in range(layout.count)
    ]
    for (train,) in self._passes():
      parts = layout.split(train.astype(dtype))
      for i, row in enumerate(lower):
        for j in range(i + 1):
          row[j] = tiles.subtract_product(row[j], parts[i], parts[j])
    for i, row in enumerate(lower):
      row[:] = [-tile for tile in row]
      real = np.arange(i * size, (i + 1) * size) < layout.n
      row[i] += jnp.diag(jnp.asarray(np.where(real, shift, 1), dtype))
    return lower

  def product(self, x: np.ndarray) -> np.ndarray:
    if not self._held:
      return self._weighted(x)
    with jax.enable_x64(True):
      parts = self.layout.split(x)
      held = self._held
      return self.layout.join(tiles.multiply(lambda i, j: held[i][j], parts))

  def predict(self, points: np.ndarray, x: np.ndarray) -> np.ndarray:
    return self._weighted(x, points)

  def _weighted(self, x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """F' F^T x, where F' are the last features: of the images, or others."""
    total = 0.0
    for train, *rest in self._passes(*others):
      left = (rest or [train])[0].astype(np.float64)
      total = total + left @ (train.astype(np.float64).T @ x)
    return np.asarray(total)

  def columns(self, index: np.ndarray) -> np.ndarray:
    chosen = np.zeros((self.layout.n, len(index)))
    chosen[index, np.arange(len(index))] = 1
    return self.product(chosen)


def features(filters: Filters, *splits: np.ndarray) -> list[np.ndarray]:
  """All standardized features and the constant, float32[n, d] for each split.

  Args:
    filters: whose features.
    *splits: images; the first ones are the training split.

  Raises:
    ConfigError: if memory does not suffice.
  """
  width, others = filters.num_features, sum(map(len, splits[1:]))
  memory.check(
    lambda n: 4 * width * (n + others), len(splits[0]), f"{width:,} features"
  )
  found = [np.empty((len(images), width), np.float32) for images in splits]
  end = 0
  for parts in ConvolutionGram(filters, splits[0])._passes(*splits[1:]):
    start, end = end, end + parts[0].shape[1]
    for whole, part in zip(found, parts, strict=True):
      whole[:, start:end] = part
  return found


@jax.jit
def _features(images, bank, offsets, alpha):
  side, _, channels, _ = bank.shape
  images = images - 0.5  # variances near 0 lose fewer digits
  box = jnp.full(
    (side, side, channels, 1), 1 / (side * side * channels), "float32"
  )
  mean = feature_ops.convolve(images, box, "VALID")
  variance = jnp.maximum(
    feature_ops.convolve(images**2, box, "VALID") - mean**2, 0
  )
  totals = jnp.sum(bank, (0, 1, 2))[None, None, None]
  response = feature_ops.convolve(images, bank, "VALID") - mean * totals
  response = response / jnp.sqrt(variance + _CONTRAST)
  response = response - offsets[None, None, None]
  both = jnp.concatenate([response, -response], -1)
  rectified = jnp.maximum(both - alpha, 0)
  height = rectified.shape[1]
  pooled = feature_ops.mean_pool(rectified, -(-height // 2), height // 2)
  return pooled.reshape(len(images), -1)


def _patches(images, count, side, seed, tag):
  """float64[count, d] contrast-normalized patches at random positions."""
  n, height, width, _ = images.shape
  words = bits.bits(
    seed, f"patches/{tag}", np.arange(count, dtype=np.uint64), 3
  )
  which, top, left = (
    bits.integers(words[:, k], below)
    for k, below in enumerate((n, height - side + 1, width - side + 1))
  )
  steps = np.arange(side)
  rows = images[
    which[:, None, None],
    (top[:, None] + steps)[:, :, None],
    (left[:, None] + steps)[:, None, :],
  ]
  rows = rows.reshape(count, -1).astype(np.float64)
  rows -= rows.mean(1, keepdims=True)
  return rows / np.sqrt(rows.var(1, keepdims=True) + _CONTRAST)


def _moments(rows):
  """(mean, 1 / standard deviation) of each column; 0 for constant ones."""
  mean = rows.mean(0, dtype=np.float64).astype(np.float32)
  std = rows.std(0, dtype=np.float64).astype(np.float32)
  return mean, np.divide(1, std, np.zeros_like(std), where=std > 1e-6)
