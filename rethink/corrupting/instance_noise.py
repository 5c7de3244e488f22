"""Instance-dependent label noise of Xia et al. (2020): rates and directions."""

import numpy as np

from rethink import bits, errors

_STD = 0.1  # of the rates, before they are cut to [0, 1]
_SCALE = 32  # a standard deviation of a direction is so many steps
_NUMBERS = 2**29  # in the directions of all classes, drawn for every block


def rates(seed: int, ids: np.ndarray, mean: float) -> np.ndarray:
  """float64[n] flip rates: normal of std 0.1 around `mean`, cut to [0, 1].

  For an id the rate grows with the mean.
  """
  import scipy.special  # imported late: --help need not wait for it

  uniform = bits.uniform(bits.bits(seed, "instance/rate", ids)[:, 0])
  low, high = scipy.special.ndtr((np.array([0.0, 1.0]) - mean) / _STD)
  quantile = scipy.special.ndtri(low + uniform * (high - low))
  return np.clip(mean + _STD * quantile, 0.0, 1.0)


def logits(
  seed: int,
  images: np.ndarray,
  labels: np.ndarray,
  classes: int,
  mean: tuple[float, ...],
  std: tuple[float, ...],
) -> np.ndarray:
  """Standardized images times the directions of their classes.

  A direction has one normal number per value of an image, rounded to 1/32: sums
  of products are sums of integers, exact in any order, so that no BLAS library
  changes a label. The rest differs by a last bit at most, which changes a label
  with a probability below 1e-12.

  Args:
    seed: draws the directions.
    images: uint8[n, height, width, channels].
    labels: int32[n], whose directions are taken.
    classes: number of classes.
    mean: per channel, subtracted from the images.
    std: per channel, by which they are divided; a channel of 0 is left out.

  Returns:
    float64[n, classes].

  Raises:
    ConfigError: if the directions of all classes are too many.
  """
  n, height, width, channels = images.shape
  numbers = classes * height * width * channels * classes
  if numbers > _NUMBERS:
    raise errors.ConfigError(
      f"config.corruptions: instance_dependent_labels draws {numbers:,} numbers"
      f" for {classes} classes and images of {height}x{width} pixels, more than"
      f" the {_NUMBERS:,} that take minutes; make the labels elsewhere and read"
      " them with labels_from_file(path)"
    )
  out = np.zeros((n, classes))
  for label in np.unique(labels):
    rows = np.flatnonzero(labels == label)
    drawn = directions(
      seed, int(label), height * width, channels, classes
    ).astype(np.float64)
    pixels = images[rows].reshape(len(rows), -1, channels).astype(np.float64)
    for c in range(channels):
      if std[c] > 0:
        # Both are integers below 2**53, exact in float64.
        product, total = pixels[:, :, c] @ drawn[:, c], drawn[:, c].sum(0)
        out[rows] += (product - mean[c] * total) / (std[c] * _SCALE)
  return out


def directions(
  seed: int, label: int, pixels: int, channels: int, classes: int
) -> np.ndarray:
  """int8[pixels, channels, classes] steps of 1/32 of a standard deviation."""
  words = pixels * channels * classes
  drawn = bits.bits(seed, "instance/direction", np.array([label]), words)[0]
  high = (drawn >> np.uint64(32)).astype(np.uint32)
  steps = bits.rounded_normal(high, 128.0, _SCALE).astype(np.int16) - 128
  return steps.astype(np.int8).reshape(pixels, channels, classes)
