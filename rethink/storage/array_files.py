"""The .npz files of a run: per-example results and curves."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rethink.storage import files, ownership

# Columns of a per-example file, measured in a clean pass after an epoch.
EXAMPLES = {
  "id": np.uint64,
  "label": np.int32,
  "true_label": np.int32,
  "loss": np.float32,  # nats, against label
  "correct": np.bool_,
}
_EPOCH = re.compile(r"epoch(\d{4,})\.npz")


def read_examples(workdir: pathlib.Path) -> dict[int, dict[str, np.ndarray]]:
  """Returns epoch to arrays of the per-example files; {} if there are none."""
  return {
    epoch: files.read_arrays(path, EXAMPLES)
    for epoch, path in sorted(_example_files(workdir).items())
  }


def write_examples(
  workdir: pathlib.Path, epoch: int, arrays: Mapping[str, Any]
) -> None:
  """Writes the file of an epoch; `arrays` has the names of EXAMPLES."""
  folder = files.make_folder(workdir / "examples")
  typed = {
    name: np.asarray(arrays[name], dtype) for name, dtype in EXAMPLES.items()
  }
  files.write_arrays(folder / f"epoch{epoch:04d}.npz", typed)


def cut_examples(workdir: pathlib.Path, epoch: int) -> None:
  """Deletes the files of later epochs."""
  for logged, path in _example_files(workdir).items():
    if logged > epoch:
      ownership.remove(path, workdir)


def read_curve(workdir: pathlib.Path, name: str) -> dict[str, np.ndarray]:
  """Returns the arrays of a curve; {} if there is no such curve."""
  path = workdir / "curves" / f"{name}.npz"
  return files.read_arrays(path) if path.exists() else {}


def write_curve(
  workdir: pathlib.Path, name: str, arrays: Mapping[str, Any]
) -> None:
  """Writes a curve; one of that name is replaced."""
  folder = files.make_folder(workdir / "curves")
  curve = {key: np.asarray(values) for key, values in arrays.items()}
  files.write_arrays(folder / f"{name}.npz", curve)


def _example_files(workdir: pathlib.Path) -> dict[int, pathlib.Path]:
  """Returns the per-example files by epoch; other names are not ours."""
  found = (
    (_EPOCH.fullmatch(path.name), path)
    for path in (workdir / "examples").glob("epoch*.npz")
  )
  return {int(match[1]): path for match, path in found if match}
