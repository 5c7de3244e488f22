"""Reads MNIST and Fashion-MNIST from their official .gz files."""

import gzip
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rethink.prepare import writer


def content(files: Mapping[str, bytes]) -> writer.Content:
  """Reads the examples of both splits, in the order of the files.

  TFDS's own builders store no id; `tfds_records.name` says how an example is
  named then.
  """
  return writer.Content(
    class_names={},  # TFDS's own builder knows them
    splits={"train": _split(files, "train"), "test": _split(files, "t10k")},
  )


def _split(files: Mapping[str, bytes], prefix: str) -> Iterator[dict[str, Any]]:
  images = _array(files[f"{prefix}-images-idx3-ubyte.gz"])
  labels = _array(files[f"{prefix}-labels-idx1-ubyte.gz"])
  for image, label in zip(images, labels, strict=True):
    yield {"image": writer.png(image[..., None]), "label": int(label)}


def _array(compressed: bytes) -> np.ndarray:
  """Decodes IDX: 0, 0, type 8 (uint8), number of axes, lengths, values."""
  data = gzip.decompress(compressed)
  shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
  return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
