"""Decodes images of any size and cuts frames of one size out of them.

This runs on the host and includes only what has to happen before images have
one size: decoding, cropping, resizing. Flips and color changes are regularizers
and run on the device.
"""

import io
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import PIL.Image

from rethink import bits, errors
from rethink.pipeline import tfds_records

# Our own threads decode images in parallel; OpenCV's would compete with them.
cv2.setNumThreads(0)

# A random crop is drawn until one fits, and most fit at the first attempt. If
# none does, the full image is used. TensorFlow tries 100 times.
_ATTEMPTS = 10
# COLOR_RGB | REDUCED_GRAYSCALE decodes a reduced RGB image; REDUCED_COLOR would
# give BGR.
_REDUCED = {
  1: cv2.IMREAD_COLOR_RGB,
  2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
  4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
  8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


class Box(NamedTuple):
  """A rectangle in an image, in pixels, with its corner at (top, left)."""

  top: int
  left: int
  height: int
  width: int


class Frame(Protocol):
  """The interface of a function that decodes and crops an image.

  Frames are values: they can be printed, compared and pickled, and the cache
  derives its file name from the printed form.

  Attributes:
    words: number of random words that a call needs; 0 if it is deterministic.
    shape: (height, width, channels) of the result.
  """

  @property
  def words(self) -> int: ...

  @property
  def shape(self) -> tuple[int, int, int]: ...

  def __call__(self, data: bytes, name: str, words: np.ndarray) -> np.ndarray:
    """Returns the frame of an image, uint8[height, width, channels].

    Args:
      data: the image as JPEG or PNG.
      name: name of the image, for messages.
      words: uint64[self.words], random for each image and epoch.

    Raises:
      DataError: naming an image that cannot be decoded.
    """
    ...


class Whole(NamedTuple):
  """The full image at its stored size; all images must have this shape."""

  shape: tuple[int, int, int]

  @property
  def words(self) -> int:
    return 0

  def __call__(self, data: bytes, name: str, words: np.ndarray) -> np.ndarray:
    del words
    image = tfds_records.decode(data, name)
    if image.shape != self.shape:
      raise errors.DataError(
        f"image {name!r} has shape {image.shape}, but others have {self.shape};"
        " set config.framing='resize' and config.image_size to resize them all"
      )
    return image


class Central(NamedTuple):
  """The central part of an image, resized to a square.

  The aspect ratio is not kept. The TensorFlow Inception input of 2016 does the
  same in evaluation.

  Attributes:
    size: height and width of the result, in pixels.
    fraction: part of height and width that is kept, in (0, 1].
    reduced: decode large JPEGs at a half, a quarter or an eighth of their size,
      as long as the crop is no smaller than the result. This is faster and
      smoother, but gives other pixels than a full decode.
  """

  size: int
  fraction: float = 0.875
  reduced: bool = True

  @property
  def words(self) -> int:
    return 0

  @property
  def shape(self) -> tuple[int, int, int]:
    return self.size, self.size, 3

  def __call__(self, data: bytes, name: str, words: np.ndarray) -> np.ndarray:
    del words
    height, width = _size(data, name)
    top = int((height - height * self.fraction) / 2)
    left = int((width - width * self.fraction) / 2)
    box = Box(top, left, height - 2 * top, width - 2 * left)
    return _cut(data, name, box, self.size, self.reduced)


class RandomCrop(NamedTuple):
  """A random part of an image, resized to a square; another one every epoch.

  The TensorFlow Inception input of 2016 does the same in training for images
  without bounding boxes: the full image is the box, of which at least
  `min_object_covered` must be visible.

  Attributes:
    size: height and width of the result, in pixels.
    min_area: smallest area that is drawn, relative to the image; the largest is
      1.
    min_covered: a crop with a smaller relative area is drawn again.
    min_aspect: smallest width / height of the crop.
    max_aspect: largest width / height of the crop.
    reduced: see `Central`.
  """

  size: int
  min_area: float = 0.05
  min_covered: float = 0.1
  min_aspect: float = 0.75
  max_aspect: float = 1.33
  reduced: bool = True

  @property
  def words(self) -> int:
    return 4 * _ATTEMPTS

  @property
  def shape(self) -> tuple[int, int, int]:
    return self.size, self.size, 3

  def __call__(self, data: bytes, name: str, words: np.ndarray) -> np.ndarray:
    height, width = _size(data, name)
    box = self.box(height, width, bits.uniform(words))
    return _cut(data, name, box, self.size, self.reduced)

  def box(self, height: int, width: int, draws: np.ndarray) -> Box:
    """Chooses the crop by float64[words] uniform draws in [0, 1)."""
    for shape, size, y, x in draws.reshape(_ATTEMPTS, 4):
      aspect = self.min_aspect + shape * (self.max_aspect - self.min_aspect)
      lowest = round((self.min_area * height * width / aspect) ** 0.5)
      highest = min(round((height * width / aspect) ** 0.5), height)
      highest = min(highest, int((width + 0.499) / aspect))
      h = lowest + int(size * (highest - lowest + 1))
      w = round(h * aspect)
      fits = 0 < h <= height and 0 < w <= width
      if fits and h * w >= self.min_covered * height * width:
        top, left = int(y * (height - h + 1)), int(x * (width - w + 1))
        return Box(top, left, h, w)
    return Box(0, 0, height, width)


def _size(data: bytes, name: str) -> tuple[int, int]:
  """Reads (height, width) from the header, without decoding."""
  try:
    with PIL.Image.open(io.BytesIO(data)) as image:
      return image.height, image.width
  except Exception as error:  # Pillow raises many kinds for damaged files
    raise _unreadable(name) from error


def _cut(
  data: bytes, name: str, box: Box, size: int, reduced: bool
) -> np.ndarray:
  """Cuts a box out of an image and resizes it to uint8[size, size, 3], RGB."""
  factor = 1
  if reduced and data[:2] == b"\xff\xd8":
    while factor < 8 and min(box.height, box.width) >= 2 * factor * size:
      factor *= 2
  flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:
    image = None
  if image is None:
    raise _unreadable(name)
  top, left, height, width = (round(length / factor) for length in box)
  part = image[top : top + height, left : left + width]
  return cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)


def _unreadable(name: str) -> errors.DataError:
  return errors.DataError(
    f"image {name!r} is no readable JPEG or PNG; `python -m rethink.prepare"
    " --check NAME` checks all images of a data set"
  )
