"""From an encoded image of any size to the pixels that a batch holds of it.

Only what has to happen before images have one size is done here, on the host:
decoding, cutting, resizing. Flips and colours are regularizers, on the device.
"""

import io
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import PIL.Image

from rethink import bits, errors
from rethink.pipeline import tfds_records

# Batches are decoded side by side; OpenCV's own threads would only compete.
cv2.setNumThreads(0)

# At a crop that fits, as most do at once; then the whole image is taken.
# TensorFlow tries 100 times.
_ATTEMPTS = 10
# RGB beside a reduced "gray" is a reduced RGB; with "color" it would be BGR.
_REDUCED = {
  1: cv2.IMREAD_COLOR_RGB,
  2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
  4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
  8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


class Box(NamedTuple):
  """A part of an image, in pixels; it begins at (top, left)."""

  top: int
  left: int
  height: int
  width: int


class Frame(Protocol):
  """How an image is framed; a value that can be printed, compared and pickled.

  Attributes:
    words: how many random words a frame takes; 0 if it is the same each time.
    shape: (height, width, channels) of the result.
  """

  @property
  def words(self) -> int: ...

  @property
  def shape(self) -> tuple[int, int, int]: ...

  def __call__(self, data: bytes, name: str, words: np.ndarray) -> np.ndarray:
    """uint8[height, width, channels].

    Args:
      data: a JPEG or PNG.
      name: of the image, for messages.
      words: uint64[self.words], drawn for this image and epoch.

    Raises:
      DataError: naming an image that cannot be decoded.
    """
    ...


class Whole(NamedTuple):
  """The image as it is stored; all of them have this shape."""

  shape: tuple[int, int, int]

  @property
  def words(self) -> int:
    return 0

  def __call__(self, data: bytes, name: str, words: np.ndarray) -> np.ndarray:
    del words
    image = tfds_records.decode(data, name)
    if image.shape != self.shape:
      raise errors.DataError(
        f"image {name!r} has shape {image.shape}, others have {self.shape};"
        " config.central_fraction=0.875 resizes them"
      )
    return image


class Central(NamedTuple):
  """The central part, resized to a square whatever its aspect ratio.

  What the TensorFlow Inception input of 2016 does in evaluation.

  Attributes:
    size: pixels, of the result.
    fraction: of height and width that is kept, in (0, 1].
    reduced: decode large JPEGs at a half, a quarter or an eighth of their size
      where that is still no smaller than the result; faster and smoother, but
      not the pixels of a full decode.
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
  """A random part, resized to a square; another one in every epoch.

  What the TensorFlow Inception input of 2016 does in training where it knows
  no bounding boxes: all of the image is then the box, of which
  `min_object_covered` must be seen.

  Attributes:
    size: pixels, of the result.
    min_area: smallest part of the image's area that is drawn; the largest is 1.
    min_covered: what is drawn below this part is drawn again.
    min_aspect: smallest width / height of the part.
    max_aspect: largest.
    reduced: as in `Central`.
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
    """The part that float64[words] draws in [0, 1) choose."""
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
  """(height, width), from the header alone."""
  try:
    with PIL.Image.open(io.BytesIO(data)) as image:
      return image.height, image.width
  except Exception as error:  # Pillow raises what it likes
    raise _unreadable(name) from error


def _cut(
  data: bytes, name: str, box: Box, size: int, reduced: bool
) -> np.ndarray:
  """A part of an image as uint8[size, size, 3], RGB."""
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
  return errors.DataError(f"image {name!r} is no readable JPEG or PNG")
