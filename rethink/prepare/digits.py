"""The 1,797 handwritten digits that scikit-learn ships, 8x8 pixels."""

from typing import Any

import numpy as np

from rethink import bits, errors
from rethink.prepare import writer

_TEST = 297


def source() -> writer.Source:
  """Returns the digits as 1,500 training and 297 test images, a fixed split.

  Grey values 0..16 become 0..255. The split is random, because neighbouring
  images are by the same writer.

  Raises:
    DataError: if scikit-learn is not installed.
  """
  try:
    import sklearn.datasets
  except ImportError:
    raise errors.DataError(
      "the digits come with scikit-learn, which is not installed: pip install"
      " scikit-learn"
    ) from None
  digits: Any = sklearn.datasets.load_digits()
  images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
  words = bits.bits(0, "digits/split", np.arange(len(images)))[:, 0]
  order = np.argsort(words, kind="stable")

  def items(index):
    for i in np.sort(index):
      label = str(digits.target[i])
      yield writer.Item(f"digit_{i:04d}", images[i], label)

  return writer.Source(
    "Optical recognition of handwritten digits (UCI), as in scikit-learn.",
    tuple(str(c) for c in range(10)),
    (8, 8, 1),
    {"train": items(order[_TEST:]), "test": items(order[:_TEST])},
  )
