"""ImageNet 2012 (ILSVRC), from two archives that have to be fetched by hand.

Name, version, features, file names, labels and the order of the records are
those of TFDS's stock builder (imagenet2012 5.1.0), which needs TensorFlow; ours
does not. The test split, which has no public labels, is left out.
"""

import hashlib
import io
import pathlib
import sys
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import PIL.Image

from rethink import errors
from rethink.prepare import archives, exclusive, shard_jobs, shards

NAME = "imagenet2012"
_TRAIN, _VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
_BLOCK = 2**20
# As image-net.org lists them beside its links; what is verified is SHA-256.
_MD5 = {
  _TRAIN: "1d675b47d978889d74fa0da5fadfb00e",
  _VALIDATION: "29b22e2961454d5413ddabcf34fc5622",
}


def prepare(
  data_dir: str, directory: str | None, *, skip_damaged: bool = False
) -> pathlib.Path:
  """Writes ImageNet unless it is there; returns the folder.

  Args:
    data_dir: holds the prepared data sets.
    directory: holds the archives; None takes `data_dir/downloads/manual`, where
      TFDS's users have them.
    skip_damaged: leave out images that cannot be decoded; official archives
      have none.

  Raises:
    DataError: if an archive is missing or changed, an image is damaged, or the
      disk refuses.
  """
  import tensorflow_datasets as tfds

  stock: Any = tfds.builder_cls(NAME)
  root = pathlib.Path(data_dir).expanduser()
  folder = root / NAME / str(stock.VERSION)
  if folder.exists():  # also where the disk is read-only and takes no lock
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
    plan = shards.Plan(splits, "file_name", fix, skip_damaged)

    class Builder(stock, skip_registration=True):  # pyright: ignore
      pass

    Builder.name = NAME
    return shards.write(Builder, plan, data_dir)


def _check(
  source: pathlib.Path, wanted: Mapping[str, archives.Registered]
) -> None:
  """Says what will be done, or what has to be fetched first.

  Raises:
    DataError: if an archive is missing or has another size than the official.
  """
  faults = []
  for name in (_TRAIN, _VALIDATION):
    path = source / name
    if not path.is_file():
      faults.append(f"{path} is missing")
    elif path.stat().st_size != wanted[name].size:
      faults.append(f"{path} has {path.stat().st_size} bytes: cut or re-packed")
  if faults:
    listed = "".join(
      f"\n  {name}: {wanted[name].size} bytes, MD5 {_MD5[name]},"
      f" SHA-256 {wanted[name].sha256}"
      for name in (_TRAIN, _VALIDATION)
    )
    raise errors.DataError(
      "; ".join(faults) + "\nImageNet has to be fetched by hand: register on"
      " https://image-net.org/download-images, take 'Training images (Task 1 &"
      " 2)' and 'Validation images (all tasks)' of ILSVRC2012, and put both"
      f" archives, not unpacked, into one folder:{listed}\nthen run"
      f" python -m rethink.prepare {NAME} --archives=FOLDER (it needs as much"
      " space again under --data_dir)"
    )
  total = sum(wanted[name].size for name in (_TRAIN, _VALIDATION))
  print(
    f"rethink: {total / 1e9:.1f} GB of archives in {source}: they are read once"
    " to verify their SHA-256 and to find the images, then once more, image by"
    " image, into shards; both stay as they are. If this is interrupted, the"
    " same command goes on with the shards that are missing.",
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
    for wnid, piece in survey(source / _TRAIN, wanted[_TRAIN])
  ]
  found = [p for _, p in survey(source / _VALIDATION, wanted[_VALIDATION])]
  path = tfds.core.tfds_path(f"datasets/{NAME}/validation_labels.txt")
  # A label per line, in the order of the sorted names, not of the archive.
  names = sorted(piece.name for piece in found)
  labels = dict(
    zip(names, path.read_text().split(), strict=False)  # tests have fewer
  )
  validation = [p._replace(label=to_label(labels[p.name])) for p in found]
  return {"train": train, "validation": validation}


def survey(
  path: pathlib.Path, wanted: archives.Registered
) -> Iterator[tuple[str, shard_jobs.Piece]]:
  """Finds the images in an archive, reading it once from begin to end.

  Args:
    path: a tar of images, or of tars of the images of a class.
    wanted: what is registered of it.

  Yields:
    (name of the inner tar without ".tar" or "", image with label -1).

  Raises:
    DataError: at the end, if the archive is not the official one.
  """
  try:
    with open(path, "rb") as file:
      hashed = _Hashed(file)
      found = list(_members(hashed, str(path)))
      while hashed.read(_BLOCK):  # what lies behind the last member
        pass
  except (OSError, tarfile.TarError) as error:
    raise errors.DataError(f"{path} cannot be read: {error}") from error
  sha256 = hashed.digest.hexdigest()
  if sha256 != wanted.sha256:
    raise errors.DataError(
      f"{path} is changed (SHA-256 {sha256}, wanted {wanted.sha256}); fetch it"
      " again: a re-packed archive never matches"
    )
  yield from found


class _Hashed:
  """A file that is hashed as it is read; it cannot be rewound."""

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


def fix(name: str, data: bytes) -> bytes:
  """Stores RGB JPEGs where the archive has CMYK ones, or a PNG, as TFDS does.

  The PNG becomes the very bytes that TFDS writes. The CMYK images differ by a
  few grey levels, for TensorFlow decodes them by a faster, rougher transform.

  Raises:
    DataError: if such an image cannot be decoded.
  """
  import tensorflow_datasets as tfds

  builder: Any = sys.modules[tfds.builder_cls(NAME).__module__]
  if name not in builder.CMYK_IMAGES and name not in builder.PNG_IMAGES:
    return data
  try:
    with PIL.Image.open(io.BytesIO(data)) as image:
      if image.mode == "CMYK":
        stored = np.asarray(image).astype(np.int32)
        if "adobe" in image.info:  # Pillow inverts; TensorFlow only others
          stored = 255 - stored
        rgb = (stored[..., :3] * stored[..., 3:] // 255).astype(np.uint8)
      else:
        rgb = np.asarray(image.convert("RGB"))
  except Exception as error:  # Pillow raises what it likes
    raise errors.DataError(f"image {name!r} is damaged: {error}") from None
  buffer = io.BytesIO()
  PIL.Image.fromarray(rgb).save(
    buffer, "JPEG", quality=100, subsampling="4:2:0", dpi=(300, 300)
  )
  return buffer.getvalue()
