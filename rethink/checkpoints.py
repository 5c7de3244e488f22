"""Orbax behind one small class: the newest states, and apart the best.

Saves are asynchronous; an error in the background is raised by the next call,
at the latest by `close`, as a RethinkError.
"""

import contextlib
import os
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from rethink import errors


class Checkpoints:
  """The saved states of one run.

  Attributes:
    saved_step: the newest step that was handed over for saving, or None.
  """

  def __init__(self, workdir: str | os.PathLike, keep: int):
    """Opens `workdir/checkpoints` and `workdir/best`, creating them.

    Args:
      workdir: of the run.
      keep: how many of the newest states stay.
    """
    self._root = pathlib.Path(workdir).absolute()
    self._newest = _manager(self._root / "checkpoints", keep)
    self._best = _manager(self._root / "best", 1)
    self.saved_step: int | None = self._newest.latest_step()

  @property
  def best_step(self) -> int | None:
    """The step of the best state on disk, or None."""
    return self._best.latest_step()

  def restore(self, like: Any) -> Any | None:
    """The newest state, or None if there is none.

    Args:
      like: a pytree of arrays with the shapes, dtypes and shardings wanted; the
        number of devices may differ from that at the time of saving.
    """
    if self.saved_step is None:
      return None
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    return self._newest.restore(
      self.saved_step, args=ocp.args.StandardRestore(target)
    )

  def save(self, step: int, state: Any) -> None:
    """Saves a state as the newest, unless this step is saved already."""
    if step != self.saved_step:
      with _naming(self._root):
        # A best state that is older than the newest would never be made again.
        self._best.wait_until_finished()
        self._newest.save(step, args=ocp.args.StandardSave(_copy(state)))
      self.saved_step = step

  def save_best(self, step: int, state: Any) -> None:
    """Saves a state as the best, in place of an earlier best."""
    if step != self.best_step:
      with _naming(self._root):
        self._best.save(step, args=ocp.args.StandardSave(_copy(state)))

  def forget_best_after(self, step: int) -> None:
    """Deletes a best state from beyond a step; it will be made again.

    It is of a process that died before it saved its newest state, or of a run
    with another config; and Orbax never overwrites a later step.
    """
    if self.best_step is not None and self.best_step > step:
      self._best.delete(self.best_step)

  def check(self) -> None:
    """Raises what went wrong in the background since the last call."""
    with _naming(self._root):
      self._newest.check_for_errors()
      self._best.check_for_errors()

  def close(self) -> None:
    """Waits until everything is on disk; raises what went wrong."""
    with _naming(self._root):
      for manager in (self._newest, self._best):
        manager.wait_until_finished()
        manager.close()


@contextlib.contextmanager
def _naming(root: pathlib.Path):
  try:
    yield
  except Exception as error:  # of any layer between Orbax and the disk
    raise errors.RethinkError(
      f"a checkpoint could not be saved in {root}: {error}; make room and run"
      " the same command again"
    ) from error


def _copy(state: Any) -> Any:
  # The next step consumes the state's buffers, which on the CPU backend may be
  # the very memory that the background thread writes from.
  return jax.tree.map(lambda x: x.copy(), state)


def _manager(directory: pathlib.Path, keep: int) -> ocp.CheckpointManager:
  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep,
    cleanup_tmp_directories=True,
    enable_async_checkpointing=True,
  )
  return ocp.CheckpointManager(directory, options=options)
