"""The folders of saved steps: `<kind>/<step>/` of a run directory."""

import pathlib

from rethink.storage import ownership


def steps(folder: pathlib.Path) -> dict[int, pathlib.Path]:
  """Returns the folders whose names are steps, by step and in their order."""
  found = [p for p in _named(folder) if p.is_dir() and not p.is_symlink()]
  return {int(p.name): p for p in sorted(found, key=lambda p: int(p.name))}


def impostors(folder: pathlib.Path) -> dict[pathlib.Path, str]:
  """Returns links and files whose names are steps, and what each is."""
  return {
    path: f"{path} is a {'symbolic link' if path.is_symlink() else 'file'},"
    " not a saved state"
    for path in _named(folder)
    if path.is_symlink() or not path.is_dir()
  }


def delete_unfinished(folder: pathlib.Path) -> None:
  """Deletes what a process leaves that dies while it saves or deletes."""
  for path in folder.iterdir():
    step, _, state = path.name.partition(".")
    unfinished = state == "deleted" or state.startswith("orbax-checkpoint-tmp")
    if ownership.is_step(step) and unfinished:
      delete(path)


def set_aside(path: pathlib.Path) -> pathlib.Path:
  """Renames a step's folder into `damaged/` of the run; returns where it is."""
  return ownership.set_aside(path, path.parent.parent)


def delete(path: pathlib.Path) -> bool:
  """Deletes a step's folder.

  Returns:
    Whether it is gone; False if it was set aside, because it holds files of
    somebody else.
  """
  return ownership.remove(path, path.parent.parent)


def _named(folder: pathlib.Path) -> list[pathlib.Path]:
  return [p for p in folder.glob("*") if ownership.is_step(p.name)]
