"""Official archives, verified by the size and SHA-256 that TFDS registers."""

import hashlib
import http.client
import pathlib
import sys
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from rethink import errors


class Registered(NamedTuple):
  """The facts about an archive that TFDS registers.

  Attributes:
    url: address that TFDS's own builder downloads it from.
    size: in bytes.
    sha256: in hexadecimal.
  """

  url: str
  size: int
  sha256: str

  def __str__(self) -> str:
    return f"{self.size} bytes, sha256 {self.sha256}, from {self.url}"


def registered(name: str) -> Mapping[str, Registered]:
  """Returns the archives that TFDS registers for a data set, by file name."""
  import tensorflow_datasets as tfds

  builder: Any = tfds.builder_cls(name)  # Any: url_infos is a class property
  return {
    info.filename or url.rpartition("/")[2]: Registered(
      url, int(info.size), info.checksum
    )
    for url, info in builder.url_infos.items()
  }


def read(name: str, directory: str | None, data_dir: str) -> dict[str, bytes]:
  """Reads and verifies all archives of a data set.

  Every archive is read once, so that the verified bytes are the ones used.

  Args:
    name: of a data set that TFDS knows.
    directory: folder with the archives; None uses `data_dir/downloads/name` and
      downloads what is missing there.
    data_dir: folder of the prepared data sets.

  Returns:
    The content of the archives, by file name.

  Raises:
    DataError: naming every archive that is missing or changed, with its
      registered address, size and SHA-256.
  """
  wanted = registered(name)
  if directory is not None:
    root = pathlib.Path(directory).expanduser()
  else:
    root = pathlib.Path(data_dir).expanduser() / "downloads" / name
    for filename, archive in wanted.items():
      if _verified(root / filename, archive)[1]:
        _download(root / filename, archive, name, wanted)
  found = {f: _verified(root / f, archive) for f, archive in wanted.items()}
  faults = [
    f"{root / f} {fault}; put the official file there: {wanted[f]}"
    for f, (_, fault) in found.items()
    if fault
  ]
  if faults:
    raise errors.DataError("\n".join(faults))
  return {filename: data for filename, (data, _) in found.items()}


def _verified(path: pathlib.Path, archive: Registered) -> tuple[bytes, str]:
  """Returns (content, fault); the fault is "" if the archive is right."""
  if path.exists() and not path.is_file():  # a pipe would wait for ever
    return b"", "cannot be read (it is no regular file)"
  try:
    data = path.read_bytes()
  except FileNotFoundError:
    return b"", "is missing"
  except OSError as error:
    return b"", f"cannot be read ({error})"
  return data, _fault(data, archive)


def _fault(data: bytes, archive: Registered) -> str:
  sha256 = hashlib.sha256(data).hexdigest()
  if (len(data), sha256) == (archive.size, archive.sha256):
    return ""
  return f"is changed ({len(data)} bytes, sha256 {sha256})"


def _download(
  path: pathlib.Path,
  archive: Registered,
  name: str,
  wanted: Mapping[str, Registered],
) -> None:
  print(f"rethink: downloading {archive.url}", file=sys.stderr, flush=True)
  try:
    with urllib.request.urlopen(archive.url, timeout=60) as reply:
      # One byte more than registered shows that a file is too long, and no
      # server can fill the memory.
      data = reply.read(archive.size + 1)
    fault = _fault(data, archive)
  except (OSError, http.client.HTTPException) as error:
    fault = f"cannot be downloaded: {error}"
  if fault:
    files = "".join(f"\n  {f}: {a}" for f, a in wanted.items())
    raise errors.DataError(
      f"{archive.url} {fault}\nOn a machine without network, copy these files"
      " into a folder and run"
      f" python -m rethink.prepare {name} --archives=FOLDER{files}"
    )
  partial = path.with_name(f"{path.name}.partial")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(data)
    partial.replace(path)
  except OSError as error:
    raise errors.DataError(f"cannot write {path}: {error}") from error
