"""Looks at encoded images for what decoding them would lose in silence."""

import io
from collections.abc import Callable

import cv2
import numpy as np
import PIL.Image

from rethink import errors
from rethink.prepare import pixels, writer

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PALETTE, _WITH_ALPHA = 3, (4, 6)  # types of colour in a PNG's header
_ORIENTATION = 0x0112  # the tag of EXIF


def checked(
  name: str,
  data: bytes,
  remark: Callable[[str, str], None],
  *,
  scale_16bit: bool = False,
) -> bytes:
  """Returns the file to store; the same bytes, unless its depth is reduced.

  Args:
    name: of the image, for messages.
    data: an encoded PNG or JPEG.
    remark: is told (kind, name of the image).
    scale_16bit: turn PNGs of 16 bits into ones of 8.

  Raises:
    DataError: if it is neither, its alpha channel shows something, or it has 16
      bits per channel and that is not asked for.
  """
  if b"Exif" in data or b"eXIf" in data:
    _look_for_rotation(name, data, remark)
  if data[:3] == _JPEG or len(data) < 26:
    return data
  if data[:8] != _PNG:  # OpenCV reads more, of which other readers see less
    raise errors.DataError(
      f"image {name!r} is no PNG or JPEG, whatever its name says; convert it"
    )
  if b"acTL" in data:
    remark("images are animations, of which only the first is taken", name)
  depth, colour = data[24], data[25]
  if depth == 16 and not scale_16bit:
    raise errors.DataError(
      f"image {name!r} has 16 bits per channel; give --scale_16bit to divide"
      " its values by 257, or convert it to 8 bits"
    )
  if depth != 16 and colour not in (_PALETTE, *_WITH_ALPHA):
    return data
  flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:
    image = None
  if image is None:
    return data  # damaged, which the decoder says
  if image.ndim == 3 and image.shape[-1] == 4:
    alpha = image[..., 3]
    if (alpha != alpha[0, 0]).any():
      raise errors.DataError(
        f"image {name!r} has transparent parts, which would be lost; blend it"
        " with a background first, for instance by ImageMagick's `mogrify"
        " -background white -alpha remove`"
      )
    if (
      colour in _WITH_ALPHA
      or int(alpha[0, 0]) != 2 ** min(8 * alpha.itemsize, 16) - 1
    ):
      remark(
        "images have an alpha channel that is the same everywhere: it is left"
        " out",
        name,
      )
  if depth != 16:
    return data
  remark("images of 16 bits per channel are divided by 257", name)
  image = image[:, :, None] if image.ndim == 2 else image[:, :, 2::-1]
  return writer.png(pixels.scaled(image)).getvalue()


def _look_for_rotation(
  name: str, data: bytes, remark: Callable[[str, str], None]
) -> None:
  try:
    with PIL.Image.open(io.BytesIO(data)) as image:
      tags = image.getexif()
  except Exception:  # Pillow raises many kinds; the decoder says what is wrong
    return
  if _ORIENTATION in tags and tags[_ORIENTATION] != 1:
    remark(
      "images ask viewers to rotate them (EXIF orientation), which is not done:"
      " the pixels are taken as they are stored",
      name,
    )
