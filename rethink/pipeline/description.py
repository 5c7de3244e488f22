"""Checks the description of a prepared data set before TFDS reads it.

A data set is data, which somebody may have sent: nothing in it may run code or
lead out of its folder. TFDS imports whatever module `features.json` names, and
joins names and templates of `dataset_info.json` to paths.
"""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from rethink import errors

# The feature classes that are read, all of TFDS, which has them imported.
_CLASSES = frozenset(
  f"tensorflow_datasets.core.features.{name}"
  for name in (
    "bounding_boxes.BBoxFeature",
    "class_label_feature.ClassLabel",
    "feature.Tensor",  # in data sets of older versions of TFDS
    "features_dict.FeaturesDict",
    "image_feature.Image",
    "scalar.Scalar",
    "sequence_feature.Sequence",
    "tensor_feature.Tensor",
    "text_feature.Text",
  )
)
# Both spellings that protocol buffers accept, and that of older versions.
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")
_NAME = re.compile(r"\w[\w.+-]*")
# TFDS formats a template, so that only its own fields may stand in one: a
# format string can ask for attributes, or for a gigabyte of blanks.
_TEMPLATE = re.compile(
  r"(\w|(?<!\.)\.|-|\{(DATASET|SPLIT|FILEFORMAT|SHARD_INDEX|NUM_SHARDS"
  r"|SHARD_X_OF_Y)\})*"
)


def require_safe(directory: str) -> None:
  """Raises a DataError unless it is safe to open a data set with TFDS.

  Args:
    directory: folder of the data set, made from flags.
  """
  folder = pathlib.Path(directory)
  for path in sorted(folder.iterdir()):
    if not (path.is_file() or path.is_dir()):  # a pipe would wait for ever
      raise damaged(path, folder, "is no regular file, or a link to nothing")
  info, features = (
    _json(folder / name, folder)
    for name in ("dataset_info.json", "features.json")
  )
  about = folder / "dataset_info.json"
  for name in _names(info):
    if not isinstance(name, str) or not _NAME.fullmatch(name):
      raise damaged(
        about,
        folder,
        f"has the name {name!r}, which could lead out of a folder",
      )
  for split in _listed(info, "splits"):
    for key in ("filepathTemplate", "filepath_template"):
      template = split[key] if key in split else ""
      if not isinstance(template, str) or not _TEMPLATE.fullmatch(template):
        raise damaged(
          about, folder, f"has the template {template!r}, which names no shards"
        )
  described = info["features"] if "features" in info else {}
  for path, value in (
    (about, described),
    (folder / "features.json", features),
  ):
    try:
      for key, name in _strings(value):
        _require_feature(key, name, path, folder)
    except RecursionError:
      raise damaged(path, folder, "is nested too deeply") from None


def damaged(
  path: pathlib.Path, folder: pathlib.Path, fault: str
) -> errors.DataError:
  """Returns the error for a damaged file of the data set in `folder`.

  The folder comes from flags, never from what the data set says of itself,
  because the message advises to delete it.
  """
  return errors.DataError(
    f"{path}: {fault}\ndelete {folder} and prepare the data set again"
  )


def _json(path: pathlib.Path, folder: pathlib.Path) -> dict[str, Any]:
  try:
    value = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError, RecursionError) as error:
    raise damaged(path, folder, f"is damaged: {error}") from None
  if not isinstance(value, dict):
    raise damaged(path, folder, "is damaged: it holds no JSON object")
  return value


def _names(info: dict[str, Any]) -> Iterator[Any]:
  """Yields everything in dataset_info.json that becomes a part of a path."""
  keys = ("name", "version", "configName", "config_name", "fileFormat")
  for key in (*keys, "file_format"):
    if key in info:
      yield info[key]
  for split in _listed(info, "splits"):
    if "name" in split:
      yield split["name"]


def _listed(info: dict[str, Any], key: str) -> list[dict[str, Any]]:
  found = info[key] if key in info else []
  if not isinstance(found, list):
    return []  # TFDS refuses it
  return [x for x in found if isinstance(x, dict)]


def _strings(value: Any) -> Iterator[tuple[str, str]]:
  """Yields all (key, string) pairs, also of JSON inside of strings."""
  if isinstance(value, dict):
    for key, inner in value.items():
      if isinstance(inner, dict):
        yield key, ""  # the key may be the name of a feature
      if isinstance(inner, str):
        yield key, inner
        if inner.lstrip()[:1] in ("{", "["):
          try:
            yield from _strings(json.loads(inner))
          except ValueError:
            pass  # no JSON, such as a description
      else:
        yield from _strings(inner)
  elif isinstance(value, list):
    for inner in value:
      yield from _strings(inner)


def _require_feature(
  key: str, value: str, path: pathlib.Path, folder: pathlib.Path
) -> None:
  if key in _CLASS_KEYS and value and value not in _CLASSES:
    raise damaged(
      path,
      folder,
      f"names the feature class {value!r}, which is none of TFDS's that this"
      " project reads, so nothing of it was imported",
    )
  # A feature's name becomes the name of its file of class names; TFDS replaces
  # the slashes of names such as image/filename.
  if ".." in key or "\\" in key or key.startswith((".", "/")):
    raise damaged(path, folder, f"has the name {key!r}, which leads elsewhere")
