"""Prepares ImageNet 2012 (ILSVRC) from two archives, downloaded by hand.

Name, version, features, file names, labels and the order of the records are
those of TFDS's own builder (imagenet2012 5.1.0). That builder needs TensorFlow;
this one does not. The test split is left out: it has no public labels.
"""

import hashlib
import io
import pathlib
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import PIL.Image

from rethink import errors
from rethink.prepare import archives, exclusive, shard_jobs, shards

NAME = "imagenet2012"
_TRAIN, _VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
_BLOCK = 2**20  # bytes read at a time
# image-net.org lists MD5 beside its links, so the message shows it; SHA-256 is
# verified.
_MD5 = {
  _TRAIN: "1d675b47d978889d74fa0da5fadfb00e",
  _VALIDATION: "29b22e2961454d5413ddabcf34fc5622",
}


def prepare(
  data_dir: str, directory: str | None, *, skip_damaged: bool = False
) -> pathlib.Path:
  """Writes ImageNet unless it exists already; returns the folder.

  Args:
    data_dir: folder of the prepared data sets.
    directory: folder with the archives; None uses `data_dir/downloads/manual`,
      where TFDS expects them.
    skip_damaged: leave out images that cannot be decoded; official archives
      have none.

  Raises:
    DataError: if an archive is missing or changed, an image is damaged, or the
      data set cannot be written.
  """
  import tensorflow_datasets as tfds

  stock: Any = tfds.builder_cls(NAME)
  root = pathlib.Path(data_dir).expanduser()
  folder = root / NAME / str(stock.VERSION)
  if folder.exists():  # before locking: a read-only disk takes no lock
    return folder
  source = (
    pathlib.Path(directory).expanduser()
    if directory
    else root / "downloads" / "manual"
  )
  wanted = archives.registered(NAME)
  _check(source, wanted)
  with exclusive.one_preparer(NAME, data_dir):
    if folder.exists():
      return folder
    splits = _splits(source, wanted, stock(data_dir=str(root)).info)
    plan = shards.Plan(splits, "file_name", convert, skip_damaged)

    class Builder(stock, skip_registration=True):  # pyright: ignore
      pass

    Builder.name = NAME
    return shards.write(Builder, plan, data_dir)


def _check(
  source: pathlib.Path, wanted: Mapping[str, archives.Registered]
) -> None:
  """Checks that both archives are there, and prints what will be done.

  Raises:
    DataError: with download instructions, if an archive is missing or differs
      in size from the official one.
  """
  faults = []
  for name in (_TRAIN, _VALIDATION):
    path = source / name
    if not path.is_file():
      faults.append(f"{path} is missing")
    elif path.stat().st_size != wanted[name].size:
      faults.append(
        f"{path} has {path.stat().st_size} bytes: it is truncated or re-packed"
      )
  if faults:
    listed = "".join(
      f"\n  {name}: {wanted[name].size} bytes, MD5 {_MD5[name]},"
      f" SHA-256 {wanted[name].sha256}"
      for name in (_TRAIN, _VALIDATION)
    )
    raise errors.DataError(
      "; ".join(faults) + "\nImageNet has to be downloaded by hand: register on"
      " https://image-net.org/download-images, download 'Training images (Task"
      " 1 & 2)' and 'Validation images (all tasks)' of ILSVRC2012, and put both"
      f" archives, without unpacking them, into one folder:{listed}\nThen run"
      f" python -m rethink.prepare {NAME} --archives=FOLDER (it needs the same"
      " space again under --data_dir)"
    )
  total = sum(wanted[name].size for name in (_TRAIN, _VALIDATION))
  print(
    f"rethink: reading {total / 1e9:.1f} GB of archives in {source} twice: once"
    " to verify their SHA-256 and to find the images, and once to write the"
    " images into shards. The archives are not changed. If this is interrupted,"
    " run the same command again: it writes only the shards that are missing.",
    file=sys.stderr,
    flush=True,
  )


def _splits(
  source: pathlib.Path, wanted: Mapping[str, archives.Registered], info: Any
) -> dict[str, list[shard_jobs.Piece]]:
  import tensorflow_datasets as tfds

  to_label = info.features["label"].str2int
  train = [
    piece._replace(label=to_label(wnid))
    for wnid, piece in find_images(source / _TRAIN, wanted[_TRAIN])
  ]
  found = [p for _, p in find_images(source / _VALIDATION, wanted[_VALIDATION])]
  path = tfds.core.tfds_path(f"datasets/{NAME}/validation_labels.txt")
  # The file has a label per line, in the order of the sorted image names, which
  # is not the order of the archive.
  names = sorted(piece.name for piece in found)
  labels = dict(
    zip(
      names, path.read_text(encoding="utf-8").split(), strict=False
    )  # tests have fewer
  )
  validation = [p._replace(label=to_label(labels[p.name])) for p in found]
  return {"train": train, "validation": validation}


def find_images(
  path: pathlib.Path, wanted: archives.Registered
) -> Iterator[tuple[str, shard_jobs.Piece]]:
  """Finds the images in an archive and verifies it, reading it once.

  Args:
    path: a tar of images, or a tar with an inner tar of images per class.
    wanted: size and SHA-256 of the official archive.

  Yields:
    (name of the inner tar without ".tar", or "", image with label -1).

  Raises:
    DataError: at the end, if the archive is not the official one.
  """
  try:
    with open(path, "rb") as file:
      hashed = _Hashed(file)
      found = list(_members(hashed, str(path)))
      while hashed.read(_BLOCK):  # hashes the padding after the last member
        pass
  except (OSError, tarfile.TarError) as error:
    raise errors.DataError(f"{path} cannot be read: {error}") from error
  sha256 = hashed.digest.hexdigest()
  if sha256 != wanted.sha256:
    raise errors.DataError(
      f"{path} is changed (SHA-256 {sha256}, expected {wanted.sha256});"
      " download it again: a re-packed archive never matches"
    )
  yield from found


class _Hashed:
  """A file that is hashed while it is read from beginning to end."""

  def __init__(self, file: Any):
    self._file, self.digest = file, hashlib.sha256()

  def read(self, size: int = -1) -> bytes:
    data = self._file.read(size)
    self.digest.update(data)
    return data


def _members(
  file: Any, path: str, start: int = 0, wnid: str = ""
) -> Iterator[tuple[str, shard_jobs.Piece]]:
  with tarfile.open(fileobj=file, mode="r|", bufsize=_BLOCK) as tar:
    for member in tar:
      if not member.isfile():
        continue
      offset = start + member.offset_data
      if member.name.endswith(".tar"):
        inner = tar.extractfile(member)
        yield from _members(inner, path, offset, member.name[:-4])
      else:
        piece = shard_jobs.Piece(member.name, -1, path, offset, member.size)
        yield wnid, piece


def convert(
  name: str, data: bytes, remark: Callable[[str, str], None]
) -> bytes:
  """Converts the archive's CMYK JPEGs, and its one PNG, to RGB JPEGs as TFDS.

  All other images are returned unchanged. The PNG becomes the same bytes that
  TFDS writes. The CMYK images differ from TFDS's by a few grey levels, because
  TensorFlow decodes them with a faster, less precise transform.

  Raises:
    DataError: if such an image cannot be decoded.
  """
  import tensorflow_datasets as tfds

  del remark  # the official images are what they are
  builder: Any = sys.modules[tfds.builder_cls(NAME).__module__]
  if name not in builder.CMYK_IMAGES and name not in builder.PNG_IMAGES:
    return data
  try:
    with PIL.Image.open(io.BytesIO(data)) as image:
      if image.mode == "CMYK":
        stored = np.asarray(image).astype(np.int32)
        # Pillow inverts all CMYK images, TensorFlow only those without Adobe's
        # marker.
        if "adobe" in image.info:
          stored = 255 - stored
        rgb = (stored[..., :3] * stored[..., 3:] // 255).astype(np.uint8)
      else:
        rgb = np.asarray(image.convert("RGB"))
  except Exception as error:  # Pillow raises many kinds for damaged files
    raise errors.DataError(f"image {name!r} is damaged: {error}") from None
  buffer = io.BytesIO()
  PIL.Image.fromarray(rgb).save(
    buffer, "JPEG", quality=100, subsampling="4:2:0", dpi=(300, 300)
  )
  return buffer.getvalue()
