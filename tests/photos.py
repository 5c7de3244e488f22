"""ImageNet's archives in small, and folders of photos of several sizes."""

import hashlib
import io
import pathlib
import tarfile
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import pytest

from rethink.prepare import archives
from tests import conftest

CMYK, PNG = "n01739381_1309.JPEG", "n02105855_2933.JPEG"
GREY = "n02105855_7.JPEG"


class Archives(NamedTuple):
  """The archives that `make` has written.

  Attributes:
    registered: what takes the place of TFDS's checksums.
    train: (wnid, file name) -> bytes, in the order of the archive.
    validation: file name -> bytes, in the order of the archive.
  """

  registered: Mapping[str, archives.Registered]
  train: Mapping[tuple[str, str], bytes]
  validation: Mapping[str, bytes]


def photo(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray:
  """uint8[height, width, channels] that JPEG can compress: smooth noise."""
  rng = np.random.default_rng(seed)
  small = rng.integers(0, 256, (8, 8, channels)).astype(np.uint8)
  image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
  return image.reshape(height, width, channels)


def encoded(image: np.ndarray, kind: str = "JPEG", **options) -> bytes:
  """A file of an image of 1, 3 or (CMYK) 4 channels."""
  mode = {1: "L", 3: "RGB", 4: "CMYK"}[image.shape[-1]]
  pixels = image[..., 0] if mode == "L" else image
  buffer = io.BytesIO()
  picture = PIL.Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
  picture.save(buffer, kind, **options)
  return buffer.getvalue()


def sizes(seed: int) -> tuple[int, int]:
  """(height, width) of a photo."""
  return 40 + 7 * (seed % 5), 90 - 11 * (seed % 4)


def make(folder: pathlib.Path, train=None, validation=None) -> Archives:
  """Writes both archives; of made-up photos, odd ones among them, or of these.

  Args:
    folder: where to.
    train: (wnid, file name) -> bytes.
    validation: bytes of images, named in the order of ImageNet's.
  """
  train = _train() if train is None else train
  if validation is None:
    validation = [encoded(photo(i, *sizes(i))) for i in range(100, 107)]
  named = {
    f"ILSVRC2012_val_{i:08d}.JPEG": data for i, data in enumerate(validation, 1)
  }
  # Neither archive is in the order of its names.
  by_name = sorted(named.items(), key=lambda item: item[0][::-1])
  classes = sorted({wnid for wnid, _ in train}, reverse=True)
  train = {
    key: train[key] for wnid in classes for key in train if key[0] == wnid
  }
  inner = {
    f"{wnid}.tar": _tar(
      {name: d for (w, name), d in train.items() if w == wnid}
    )
    for wnid in classes
  }
  content = {
    "ILSVRC2012_img_train.tar": _tar(inner),
    "ILSVRC2012_img_val.tar": _tar(dict(by_name)),
  }
  folder.mkdir(parents=True, exist_ok=True)
  registered = {}
  for name, data in content.items():
    (folder / name).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    registered[name] = archives.Registered(f"http://{name}", len(data), sha256)
  return Archives(registered, train, dict(by_name))


def _train() -> dict[tuple[str, str], bytes]:
  train = {}
  for k, wnid in enumerate(("n01440764", "n01739381", "n02105855")):
    for i in range(4):
      seed = 10 * k + i
      data = encoded(photo(seed, *sizes(seed)))
      train[wnid, f"{wnid}_{i}.JPEG"] = data
  train["n01739381", CMYK] = encoded(photo(50, 44, 60, 4), quality=95)
  train["n02105855", PNG] = encoded(photo(51, 44, 60), "PNG")
  train["n02105855", GREY] = encoded(photo(52, 44, 60, 1))
  return train


def _tar(members: Mapping[str, bytes]) -> bytes:
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as t:
    for name, data in members.items():
      member = tarfile.TarInfo(name)
      member.size = len(data)
      t.addfile(member, io.BytesIO(data))
  return buffer.getvalue()


def tree(root: pathlib.Path) -> pathlib.Path:
  """A folder of two splits whose classes and sizes differ."""
  for split, classes, first in (("train", "abcd", 0), ("validation", "cd", 60)):
    for i in range(12):
      seed = first + i
      path = root / split / classes[i % len(classes)] / f"{i}.jpg"
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(encoded(photo(seed, *sizes(seed))))
  return root


def sample() -> Mapping[str, bytes]:
  """Path -> bytes of the real photos, <split>/<wnid>/<name>; or a skip."""
  path = conftest.SHARED / "data" / "imagenet-sample.tar"
  if not path.is_file():
    pytest.skip(f"{path} is not there; $RETHINK_SHARED names another parent")
  found = {}
  with tarfile.open(path) as tar:
    for member in tar:
      if member.isfile():
        file = tar.extractfile(member)
        assert file
        found[member.name] = file.read()
  return found
