"""The folders of saved steps: `<kind>/<step>/` of a run directory."""

import pathlib
import shutil


def steps(folder: pathlib.Path) -> dict[int, pathlib.Path]:
  """Returns the folders whose names are steps, by step and in their order."""
  folders = [p for p in folder.glob("*") if p.is_dir() and p.name.isdecimal()]
  return {int(p.name): p for p in sorted(folders, key=lambda p: int(p.name))}


def set_aside(path: pathlib.Path) -> pathlib.Path:
  """Renames a step's folder into `damaged/` of the run; returns where it is."""
  damaged = path.parent.parent / "damaged"
  damaged.mkdir(exist_ok=True)
  name, number = f"{path.parent.name}-{path.name}", 1
  while (damaged / f"{name}.{number}").exists():
    number += 1
  return path.rename(damaged / f"{name}.{number}")


def delete(path: pathlib.Path) -> None:
  """Deletes a step's folder."""
  # Renamed first: a process that dies here leaves no half of a state.
  shutil.rmtree(path.rename(path.with_name(path.name + ".deleted")))
