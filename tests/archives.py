"""Small archives in the exact layout of the official ones."""

import contextlib
import gzip
import hashlib
import io
import pathlib
import tarfile
from collections.abc import Mapping

import numpy as np
import pytest

from rethink.prepare import archives

SIZES = {"train": 70, "test": 23}  # 70 = 5 CIFAR-10 batches of 14
_PREFIX = {"train": "train", "test": "t10k"}
_ANIMALS = ("airplane", "automobile", "bird", "cat", "deer")


def make(name: str, folder: pathlib.Path) -> Mapping[str, archives.Registered]:
  """Writes the archives of a data set; returns what is registered of them.

  The same bytes each time.
  """
  folder.mkdir(parents=True, exist_ok=True)
  files = _mnist(name) if "mnist" in name else _cifar(name)
  official = archives.registered(name)
  assert set(files) == set(official)
  for filename, data in files.items():
    (folder / filename).write_bytes(data)
  return {
    filename: archives.Registered(
      official[filename].url, len(data), hashlib.sha256(data).hexdigest()
    )
    for filename, data in files.items()
  }


@contextlib.contextmanager
def registered(content: Mapping[str, archives.Registered]):
  """Lets these be the official archives; they are verified none the less."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(archives, "registered", lambda name: content)
    yield


def images(name: str, split: str) -> np.ndarray:
  """uint8[n, h, w, c], in the order of the archive."""
  seed = sum(f"{name}/{split}".encode())
  shape = (28, 28, 1) if "mnist" in name else (32, 32, 3)
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (SIZES[split], *shape)).astype(np.uint8)


def labels(name: str, split: str) -> np.ndarray:
  """uint8[n]; every class up to n is there."""
  classes = 100 if name == "cifar100" else 10
  return ((np.arange(SIZES[split]) * 3 + 1) % classes).astype(np.uint8)


def coarse(split: str) -> np.ndarray:
  """uint8[n]: CIFAR-100's superclasses; not what `labels` says."""
  return ((np.arange(SIZES[split]) * 7 + 2) % 20).astype(np.uint8)


def class_names(classes: int) -> list[str]:
  """Names that are not sorted, with CIFAR's underscores."""
  return [f"{_ANIMALS[i % 5]}_{classes - i}" for i in range(classes)]


def _mnist(name):
  files = {}
  for split, prefix in _PREFIX.items():
    pixels = images(name, split)[..., 0]
    for kind, array in (("images", pixels), ("labels", labels(name, split))):
      header = bytes([0, 0, 8, array.ndim])
      header += np.array(array.shape, ">u4").tobytes()
      filename = f"{prefix}-{kind}-idx{array.ndim}-ubyte.gz"
      files[filename] = gzip.compress(header + array.tobytes(), mtime=0)
  return files


def _cifar(name):
  fine = {split: labels(name, split)[:, None] for split in SIZES}
  if name == "cifar100":
    first = {split: coarse(split)[:, None] for split in SIZES}
    head = {s: np.concatenate([first[s], fine[s]], axis=1) for s in SIZES}
  else:
    head = fine
  rows = {}
  for split, n in SIZES.items():
    planes = images(name, split).transpose(0, 3, 1, 2).reshape(n, -1)
    rows[split] = np.concatenate([head[split], planes], axis=1)
  if name == "cifar100":
    members = {
      "train.bin": rows["train"].tobytes(),
      "test.bin": rows["test"].tobytes(),
      "coarse_label_names.txt": _lines(class_names(20)),
      "fine_label_names.txt": _lines(class_names(100)),
    }
    return {"cifar-100-binary.tar.gz": _tar("cifar-100-binary", members)}
  members = {
    f"data_batch_{i + 1}.bin": part.tobytes()
    for i, part in enumerate(np.split(rows["train"], 5))
  }
  members |= {
    "test_batch.bin": rows["test"].tobytes(),
    "batches.meta.txt": _lines(class_names(10)) + b"\n",
    "readme.html": b"about",
  }
  return {"cifar-10-binary.tar.gz": _tar("cifar-10-batches-bin", members)}


def _lines(names: list[str]) -> bytes:
  return "".join(f"{name}\n" for name in names).encode()


def _tar(folder: str, members: Mapping[str, bytes]) -> bytes:
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w") as tar:
    directory = tarfile.TarInfo(folder)
    directory.type = tarfile.DIRTYPE
    directory.mode = 0o755
    tar.addfile(directory)
    for name in sorted(members, reverse=True):  # in no useful order, as there
      member = tarfile.TarInfo(f"{folder}/{name}")
      member.size = len(members[name])
      tar.addfile(member, io.BytesIO(members[name]))
  return gzip.compress(buffer.getvalue(), mtime=0)
