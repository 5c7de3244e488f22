"""Pixels that change places, a block of images at a time."""

from collections.abc import Callable, Iterator

import numpy as np

from rethink import bits

_WORDS = 2**22  # at a time: bounds memory to some 100 MB, changes nothing


def permuted(
  ids: np.ndarray,
  images: np.ndarray,
  words: Callable[[np.ndarray, int], np.ndarray],
  channels_together: bool,
) -> np.ndarray:
  """Permutes the pixels of images.

  Args:
    ids: uint64[n].
    images: uint8[n, height, width, channels].
    words: (uint64[k] ids, how many for each) to uint64 random words: k rows,
      or one row that permutes all images alike.
    channels_together: move the channels of a pixel as one.

  Returns:
    uint8 images of the same shape.
  """
  n, height, width, channels = images.shape
  pixels, sets = height * width, 1 if channels_together else channels
  out = np.empty(images.shape, np.uint8)
  for block in blocks(n, pixels * sets):
    drawn = words(ids[block], pixels * sets)
    order = bits.permutation(drawn.reshape(len(drawn), sets, pixels))
    order = order.swapaxes(1, 2)  # [block, pixels, 1 or channels]
    flat = images[block].reshape(-1, pixels, channels)
    out[block] = np.take_along_axis(flat, order, axis=1).reshape(
      -1, height, width, channels
    )
  return out


def blocks(n: int, words_per_image: int) -> Iterator[slice]:
  """Slices of n images, as many at a time as memory is meant for."""
  size = max(1, _WORDS // words_per_image)
  return (slice(start, start + size) for start in range(0, n, size))
