"""Random convolutional features, computed in blocks, and their Gram matrix.

The random convolutional network of the paper's Table 3: Coates & Ng (2012),
with randomly chosen patches in place of learned filters.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rethink import bits, errors
from rethink.kernels import feature_ops, memory, tiles

_PER_FILTER = 8  # features: two rectifiers, averaged in four quadrants
_PATCHES = 100_000  # used to estimate the whitening, at most
_CONTRAST = 10 / 255**2  # Coates & Ng add 10; their pixels go up to 255
_BLOCK = 256  # filters computed at a time: bounds memory


class Filters:
  """Whitened random patches of training images, as filters.

  Every patch of an image (side x side x channels, stride 1) is normalized: its
  mean is subtracted, it is divided by sqrt(variance + 10 / 255^2) and
  ZCA-whitened, w = W (x - m). A filter is a normalized patch of a training
  image at a random position, scaled to length 1. Its response a passes through
  max(0, a - alpha) and max(0, -a - alpha), and both are averaged over the four
  quadrants of the image: eight features per filter. Quadrants share their
  border if the number of responses per row or column is odd.

  Attributes:
    count: number of filters.
    num_features: eight per filter, plus a constant (see `ConvolutionGram`).
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
    """Chooses the patches and estimates their whitening.

    Args:
      images: float32[n, height, width, channels] in [0, 1], training split.
      count: number of filters; a larger count keeps the filters of a smaller
        one and adds more.
      side: height and width of a patch, in pixels.
      alpha: threshold of the rectifiers.
      epsilon: added to the eigenvalues of the patches' covariance.
      seed: chooses the patches.

    Raises:
      ConfigError: if a patch is as large as the images or larger.
    """
    if side >= min(images.shape[1:3]):
      raise errors.ConfigError(
        f"config.features: a patch of {side} pixels needs larger images than"
        f" {images.shape[1]}x{images.shape[2]}; choose a smaller patch in"
        " random_convolution()"
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
    """Yields functions from images to the features of a few filters each.

    Each returns float32[n, 8 * filters of the block].
    """
    for start in range(0, self.count, _BLOCK):
      bank = jnp.asarray(self._bank[..., start : start + _BLOCK])
      offsets = jnp.asarray(self._offsets[start : start + _BLOCK])
      yield lambda images, bank=bank, offsets=offsets: feature_ops.in_chunks(
        lambda part: _features(part, bank, offsets, self._alpha), images
      )


class ConvolutionGram:
  """F F^T of standardized features F, without ever storing all of F.

  Each pass recomputes the features, one block of filters at a time, and scales
  every feature to mean 0 and variance 1 over the training images. The constant
  1 is added as one more feature: without it, no linear function of centred
  features could equal 1 at every training image. See `gram.Gram` for the
  interface.
  """

  def __init__(
    self,
    filters: Filters,
    images: np.ndarray,
    tile: int = 0,
    cache: bool = False,
  ):
    """Stores the images; computes nothing yet.

    Args:
      filters: the filters whose features make F.
      images: float32[n, height, width, channels] in [0, 1], training split.
      tile: rows of a tile, see `tiles.layout`.
      cache: keep K in float64, so that products with K need no pass over the
        features. It takes twice the memory of a float32 factor.
    """
    self.layout = tiles.layout(len(images), tile)
    self.points, self._filters, self._cache = images, filters, cache
    self._cached: tiles.Tiles = []

  def bytes(self, n: int) -> int:
    block = min(_BLOCK, self._filters.count) * _PER_FILTER
    cached = (
      tiles.layout(n, self.layout.size).lower_bytes(8) if self._cache else 0
    )
    return 4 * n * (self.points[0].size + 3 * block) + cached

  def _standardized(self, *others: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yields each block's features: of the training images, then of others.

    Means and variances are always those of the training images.
    """
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
      if not self._cache:
        return self._sum(dtype, shift)
      if not self._cached:
        self._cached = self._sum("float64", 0.0)
      return [
        [
          tiles.shifted(tile, shift if j == i else 0.0, dtype=dtype)
          for j, tile in enumerate(row)
        ]
        for i, row in enumerate(self._cached)
      ]

  def _sum(self, dtype: str, shift: float) -> tiles.Tiles:
    """Returns F F^T + shift I, summed up block by block."""
    layout, size = self.layout, self.layout.size
    # subtract_product accumulates -F F^T.
    lower = [
      [jnp.zeros((size, size), dtype) for _ in range(i + 1)]
      for i in range(layout.count)
    ]
    for (train,) in self._standardized():
      parts = layout.split(train.astype(dtype))
      for i, row in enumerate(lower):
        for j in range(i + 1):
          row[j] = tiles.subtract_product(row[j], parts[i], parts[j])
    for i, row in enumerate(lower):
      row[:] = [-tile for tile in row]
      real = np.arange(i * size, (i + 1) * size) < layout.n
      # Padding rows get a 1 on the diagonal, so that the factor exists.
      row[i] += jnp.diag(jnp.asarray(np.where(real, shift, 1), dtype))
    return lower

  def product(self, x: np.ndarray) -> np.ndarray:
    if not self._cached:
      return self._multiply_features(x)
    with jax.enable_x64(True):
      parts = self.layout.split(x)
      lower = self._cached
      return self.layout.join(tiles.multiply(lambda i, j: lower[i][j], parts))

  def predict(self, points: np.ndarray, x: np.ndarray) -> np.ndarray:
    return self._multiply_features(x, points)

  def _multiply_features(
    self, x: np.ndarray, *others: np.ndarray
  ) -> np.ndarray:
    """Returns G F^T x; G are the features of `others` if given, else F."""
    total = 0.0
    for train, *rest in self._standardized(*others):
      left = (rest or [train])[0].astype(np.float64)
      total = total + left @ (train.astype(np.float64).T @ x)
    return np.asarray(total)

  def columns(self, index: np.ndarray) -> np.ndarray:
    chosen = np.zeros((self.layout.n, len(index)))
    chosen[index, np.arange(len(index))] = 1
    return self.product(chosen)


def features(filters: Filters, *splits: np.ndarray) -> list[np.ndarray]:
  """Returns all standardized features and the constant for each split.

  Args:
    filters: the filters whose features are computed.
    *splits: images, the training split first.

  Returns:
    float32[n, d] for each split.

  Raises:
    ConfigError: if the features do not fit into memory.
  """
  width, others = filters.num_features, sum(map(len, splits[1:]))
  memory.check(
    lambda n: 4 * width * (n + others), len(splits[0]), f"{width:,} features"
  )
  out = [np.empty((len(images), width), np.float32) for images in splits]
  end = 0
  for blocks in ConvolutionGram(filters, splits[0])._standardized(*splits[1:]):
    start, end = end, end + blocks[0].shape[1]
    for columns, block in zip(out, blocks, strict=True):
      columns[:, start:end] = block
  return out


@jax.jit
def _features(images, bank, offsets, alpha):
  side, _, channels, _ = bank.shape
  # The filters do not see a constant, but E[x^2] - E[x]^2 below loses fewer
  # digits around 0.
  images = images - 0.5
  box = jnp.full(
    (side, side, channels, 1), 1 / (side * side * channels), "float32"
  )
  mean = feature_ops.convolve(images, box, "VALID")
  variance = jnp.maximum(
    feature_ops.convolve(images**2, box, "VALID") - mean**2, 0
  )
  # Centring a patch and then filtering it is filtering it, minus the patch's
  # mean times the sum of the filter: no patch is ever extracted.
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
  """Returns float64[count, d]: contrast-normalized patches, drawn at random."""
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
  """Returns each column's mean and 1 / standard deviation (0 if constant)."""
  mean = rows.mean(0, dtype=np.float64).astype(np.float32)
  std = rows.std(0, dtype=np.float64).astype(np.float32)
  return mean, np.divide(1, std, np.zeros_like(std), where=std > 1e-6)
