"""Reads CIFAR-10 and CIFAR-100 from their official binary archives."""

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rethink.prepare import writer

_PIXELS = 3 * 32 * 32


def cifar10(files: Mapping[str, bytes]) -> writer.Content:
  """Reads cifar-10-binary.tar.gz; names examples as TFDS's builder does."""
  return _content(
    files["cifar-10-binary.tar.gz"],
    "cifar-10-batches-bin",
    train=[f"data_batch_{i}.bin" for i in range(1, 6)],
    test="test_batch.bin",
    class_names={"label": "batches.meta.txt"},
  )


def cifar100(files: Mapping[str, bytes]) -> writer.Content:
  """Reads cifar-100-binary.tar.gz; names examples as TFDS's builder does."""
  return _content(
    files["cifar-100-binary.tar.gz"],
    "cifar-100-binary",
    train=["train.bin"],
    test="test.bin",
    class_names={
      "coarse_label": "coarse_label_names.txt",
      "label": "fine_label_names.txt",
    },
  )


def _content(
  archive: bytes,
  folder: str,
  *,
  train: Sequence[str],
  test: str,
  class_names: Mapping[str, str],
) -> writer.Content:
  with tarfile.open(fileobj=io.BytesIO(archive)) as tar:

    def member(name: str) -> bytes:
      file = tar.extractfile(f"{folder}/{name}")
      assert file  # the archive is verified, so it has this file
      return file.read()

    keys = tuple(class_names)  # in the order of the label bytes of a row
    return writer.Content(
      class_names={
        key: [line for line in member(name).decode().splitlines() if line]
        for key, name in class_names.items()
      },
      splits={
        "train": _split("train", b"".join(map(member, train)), keys),
        "test": _split("test", member(test), keys),
      },
    )


def _split(
  name: str, data: bytes, label_keys: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
  labels = len(label_keys)
  rows = np.frombuffer(data, np.uint8).reshape(-1, labels + _PIXELS)
  for i, row in enumerate(rows):
    image = row[labels:].reshape(3, 32, 32).transpose(1, 2, 0)
    yield {
      "id": f"{name}_{i:05d}",
      "image": writer.png(image),
      **dict(zip(label_keys, map(int, row[:labels]), strict=True)),
    }
