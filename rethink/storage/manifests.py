"""Manifests of saved states: a digest per leaf and per file, written last.

A folder is a saved state only if it contains `manifest.json`. Orbax alone
restores flipped bits silently, casts dtypes, and accepts an empty folder.
"""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from rethink import errors
from rethink.storage import files, fingerprints, retries, schema

NAME = schema.MANIFEST
# Fingerprints that a state must share with the run that resumes from it. The
# commit may differ.
BINDING = ("config", "data")


class Changes(NamedTuple):
  """The leaves in which states of older versions may differ from today's.

  Attributes:
    added: paths of leaves, such as "sums/count", that older states may lack.
    dropped: paths of leaves that older states may have besides.
  """

  added: tuple[str, ...] = ()
  dropped: tuple[str, ...] = ()


UNCHANGED = Changes()


def write(
  folder: pathlib.Path, step: int, state: Any, identity: Mapping[str, str]
) -> None:
  """Writes the manifest of a folder that is otherwise complete.

  Args:
    folder: folder of the saved step.
    step: step of the state.
    state: pytree of arrays, as it was handed to Orbax.
    identity: fingerprints of "config" and "data", and the code's "commit".
  """
  arrays = _arrays(state)
  manifest = {
    "step": step,
    "finite": all(_finite(x) for x in arrays.values()),
    **identity,
    "leaves": {path: _leaf(x) for path, x in arrays.items()},
    "files": {
      str(path.relative_to(folder)): _digest(path.read_bytes())
      for path in sorted(folder.rglob("*"))
      if path.is_file() and path.name != NAME
    },
  }
  manifest["digest"] = schema.own_digest(manifest)
  files.write_json(folder / NAME, manifest)


def read(folder: pathlib.Path) -> dict[str, Any]:
  """Reads a manifest after verifying it and all files that it lists.

  Raises:
    CheckpointError: if a file is damaged or missing; the message names it.
  """
  path = folder / NAME
  try:
    manifest = schema.manifest(path, retries.retry(path.read_bytes))
  except OSError as error:
    raise errors.CheckpointError(
      f"{path} cannot be read: {error.strerror}"
    ) from None
  except schema.RecordError as error:
    raise errors.CheckpointError(str(error)) from None
  sound = manifest.pop("digest") == schema.own_digest(manifest)
  if not sound or str(manifest["step"]) != folder.name:
    raise errors.CheckpointError(f"{path} is not what was written")
  if not manifest["finite"]:
    raise errors.CheckpointError(f"{folder} holds values that are not finite")
  # Verified before Orbax opens them, because damaged metadata can make it
  # allocate any amount of memory.
  for name, digest in manifest["files"].items():
    try:
      if _digest(retries.retry((folder / name).read_bytes)) != digest:
        raise errors.CheckpointError(f"{folder / name} is not what was written")
    except OSError as error:
      raise errors.CheckpointError(
        f"{folder / name} cannot be read: {error.strerror}"
      ) from None
  return manifest


def differences(
  manifest: Mapping[str, Any], identity: Mapping[str, str]
) -> list[str]:
  """Returns a line for each fingerprint that differs from a run's."""
  return [
    f"{key}: fingerprint {manifest[key]} -> {identity[key]}"
    for key in BINDING
    if manifest[key] != identity[key]
  ]


def check_fit(
  manifest: Mapping[str, Any],
  like: Any,
  folder: str,
  changes: Changes = UNCHANGED,
) -> bool:
  """Checks that a saved state has the shapes and dtypes of `like`.

  Args:
    manifest: of the saved state.
    like: arrays of the wanted shapes and dtypes.
    folder: of the saved state, for messages.
    changes: the differences that a state of an older version may have.

  Returns:
    Whether the state has exactly the leaves that are wanted.

  Raises:
    ConfigError: naming the leaves that are missing, unknown, or of another
      shape or dtype.
  """

  def signature(shape, dtype) -> str:
    return f"{dtype}{list(shape)}"

  saved = {
    path: signature(leaf["shape"], leaf["dtype"])
    for path, leaf in manifest["leaves"].items()
  }
  wanted = {p: signature(x.shape, x.dtype) for p, x in _flat(like)}
  exact = saved.keys() == wanted.keys()
  for path in changes.added:
    if path not in saved:
      wanted.pop(path, None)
  for path in changes.dropped:
    if path not in wanted:
      saved.pop(path, None)
  changed = fingerprints.differences(saved, wanted)
  if changed:
    raise errors.ConfigError(
      f"{folder} holds a state with other shapes or dtypes:\n  "
      + "\n  ".join(changed)
      + f"\nresume with the code that wrote it (commit {manifest['commit']}),"
      " or give another --workdir"
    )
  return exact


def check_state(manifest: Mapping[str, Any], state: Any, folder: str) -> None:
  """Checks every leaf of a restored state against its digest.

  Raises:
    CheckpointError: if a leaf differs; the message names the first one.
  """
  arrays = _arrays(state)
  for path, leaf in manifest["leaves"].items():
    if path not in arrays or _leaf(arrays[path]) != leaf:
      raise errors.CheckpointError(
        f"{folder}: leaf {path} has changed since it was saved"
      )


def fill(like: Any, state: Any) -> Any:
  """Returns `like` with the leaves of a state of almost the same form.

  Leaves that the state lacks stay as they are; those that it has besides are
  left out.
  """
  found = dict(_flat(state))
  leaves, structure = jax.tree.flatten(like)
  paths = [path for path, _ in _flat(like)]
  return structure.unflatten(
    found[path] if path in found else leaf
    for path, leaf in zip(paths, leaves, strict=True)
  )


def _flat(tree: Any) -> list[tuple[str, Any]]:
  return [
    (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  ]


def _arrays(tree: Any) -> dict[str, np.ndarray]:
  return {path: np.asarray(leaf) for path, leaf in _flat(tree)}


def _leaf(x: np.ndarray) -> dict[str, Any]:
  # Hashed as bytes, because hashlib does not accept bfloat16.
  data = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
  return {
    "shape": list(x.shape),
    "dtype": str(x.dtype),
    "digest": _digest(data),
  }


def _finite(x: np.ndarray) -> bool:
  floats = jax.numpy.issubdtype(x.dtype, jax.numpy.floating)
  return not floats or bool(np.isfinite(x).all())


def _digest(data: Any) -> str:
  return hashlib.blake2b(data, digest_size=16).hexdigest()
