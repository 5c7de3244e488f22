"""The saved states of a run: the newest ones and, separately, the best one.

  checkpoints/<step>/   the newest states, written by Orbax
  best/<step>/          the state with the best metric
  damaged/              states that failed their check: renamed, never deleted

A folder counts as a state once it contains its manifest, which is written last.
Saving runs in the background; its errors are raised by the next call, `close`
at the latest, as a RethinkError.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp

from rethink import distributed, errors
from rethink.storage import files, manifests, retries, step_folders

_KINDS = ("checkpoints", "best")


class Checkpoints:
  """The saved states of one run.

  Attributes:
    saved_step: newest step that was restored or handed over, or None.
  """

  def __init__(
    self, workdir: str | os.PathLike, keep: int, identity: Mapping[str, str]
  ):
    """Opens `workdir/checkpoints` and `workdir/best`, creating them.

    Args:
      workdir: run directory.
      keep: number of newest states to keep.
      identity: fingerprints of the run, see `manifests.write`.
    """
    self._root = pathlib.Path(workdir).absolute()
    newest, best = (self._root / kind for kind in _KINDS)
    make = _Store if distributed.is_first() else _NoStore
    self._newest = make(newest, keep, identity)
    self._best = make(best, 1, identity)
    self.best_step: int | None = self._best.set_unusable_aside()
    self.saved_step: int | None = None

  def restore(
    self,
    like: Any,
    changes: manifests.Changes = manifests.UNCHANGED,
    unusable: Callable[[int], str] = lambda step: "",
  ) -> Any | None:
    """The newest state that is whole; None if nothing was ever saved.

    Newer states that are damaged or unusable are set aside with a warning.

    Args:
      like: a pytree of arrays with the shapes, dtypes and shardings wanted; the
        number of devices may differ from that at the time of saving.
      changes: in what the states of older versions may differ; leaves that they
        lack stay as in `like`.
      unusable: says why the state of a step cannot be used, "" if it can.

    Raises:
      CheckpointError: if there are states, but all of them are damaged.
      ConfigError: if a state belongs to another config or other data.
    """
    with distributed.together("restore the saved state"):
      step, state = self._newest.restore(
        distributed.local_copy(like), changes, unusable
      )
    self.saved_step = distributed.all_gather(step, "step of the saved state")[0]
    return distributed.broadcast(state, like)

  def save(self, step: int, state: Any) -> None:
    """Saves a state as the newest one, unless its step is saved already."""
    if step != self.saved_step:
      with files.explaining_saves(self._root):
        # A resumed run would not make an older best state again: wait for it.
        self._best.wait()
        self._newest.save(step, state)
      self.saved_step = step

  def save_best(self, step: int, state: Any) -> None:
    """Saves a state as the best one; it replaces the earlier best."""
    if step != self.best_step:
      with files.explaining_saves(self._root):
        self._best.save(step, state)
      self.best_step = step

  def forget_best_after(self, step: int) -> None:
    """Deletes the best state if it is from beyond a step.

    Its process died before saving a newest state; the run will make it again.
    """
    if self.best_step is not None and self.best_step > step:
      self._best.delete(self.best_step)
      self.best_step = None

  def check(self) -> None:
    """Raises the error of a background save that failed since the last call."""
    with files.explaining_saves(self._root):
      self._newest.check()
      self._best.check()

  def close(self) -> None:
    """Waits until states and manifests are on disk; raises errors of saving."""
    with files.explaining_saves(self._root), contextlib.ExitStack() as stack:
      for store in (self._newest, self._best):
        stack.callback(store.close)


def restart(workdir: str | os.PathLike) -> None:
  """Sets all states of a run aside, so that it starts at step 0."""
  for kind in _KINDS:
    folder = pathlib.Path(workdir).absolute() / kind
    for path in step_folders.steps(folder).values():
      print(f"{path}: set aside as {step_folders.set_aside(path)}", flush=True)


class _Store:
  """The saved steps in one folder."""

  def __init__(
    self, folder: pathlib.Path, keep: int, identity: Mapping[str, str]
  ):
    self._folder, self._keep, self._identity = folder, keep, dict(identity)
    if folder.is_symlink():
      raise errors.ConfigError(
        f"{folder} is a symbolic link; saved states lie in the run directory"
        " itself: give a --workdir on the disk that should hold them"
      )
    files.make_folder(folder)
    step_folders.delete_unfinished(folder)  # left by processes that died
    # If Orbax creates the folder in the background and fails, the process takes
    # five minutes to exit.
    options = ocp.options.AsyncOptions(create_directories_asynchronously=False)
    # Only process 0 saves; by default Orbax would wait for the others.
    alone = ocp.options.MultiprocessingOptions(0, active_processes={0})
    self._orbax = ocp.StandardCheckpointer(
      async_options=options, multiprocessing_options=alone
    )
    self._worker = concurrent.futures.ThreadPoolExecutor(1, "confirm_save")
    self._job: concurrent.futures.Future | None = None

  def restore(
    self, like: Any, changes: manifests.Changes, unusable: Callable[[int], str]
  ) -> tuple[int | None, Any]:
    """(step, state) of the newest whole step, or (None, None)."""
    damaged = step_folders.impostors(self._folder)
    found = None, None
    for step, path in reversed(self._finished().items()):
      try:
        if why := unusable(step):
          raise errors.CheckpointError(f"{path} cannot be used: {why}")
        found = step, self._read(path, like, changes)
        break
      except errors.CheckpointError as error:
        damaged[path] = str(error)
    unfinished = self._unfinished()
    # A process that dies leaves at most one step without a manifest.
    if found[0] is None and (damaged or len(unfinished) > 1):
      lost = [*damaged.values(), *(f"{p} has no manifest" for p in unfinished)]
      raise errors.CheckpointError(
        "none of the saved states can be used:\n  "
        + "\n  ".join(lost)
        + "\nrestore an undamaged copy, or start over with rethink.main's"
        " --restart_from_scratch, which sets them aside"
      )
    self._clean_up(damaged)
    return found

  def set_unusable_aside(self) -> int | None:
    """Sets damaged and foreign states aside; returns the step that is left."""
    damaged = step_folders.impostors(self._folder)
    for path in self._finished().values():
      try:
        manifest = manifests.read(path)
        if manifests.differences(manifest, self._identity):
          damaged[path] = f"{path} belongs to another config or other data"
      except errors.CheckpointError as error:
        damaged[path] = str(error)
    self._clean_up(damaged)
    return max(step_folders.steps(self._folder), default=None)

  def save(self, step: int, state: Any) -> None:
    self.wait()
    # The next step consumes the state's buffers.
    state = jax.tree.map(lambda x: x.copy(), distributed.local_copy(state))
    self._job = self._worker.submit(self._write, step, state)

  def delete(self, step: int) -> None:
    step_folders.delete(self._folder / str(step))

  def check(self) -> None:
    if self._job and self._job.done():
      self.wait()

  def close(self) -> None:
    try:
      self.wait()
    finally:
      self._worker.shutdown()
      self._orbax.close()

  def wait(self) -> None:
    job, self._job = self._job, None
    if job:
      job.result()

  def _write(self, step: int, state: Any) -> None:
    """Writes the step and then its manifest; deletes old steps."""
    path = self._folder / str(step)

    def attempt() -> None:
      self._orbax.save(path, state, force=True)
      self._orbax.wait_until_finished()
      manifests.write(path, step, jax.device_get(state), self._identity)

    retries.retry(attempt)
    for old in list(step_folders.steps(self._folder).values())[: -self._keep]:
      step_folders.delete(old)

  def _read(
    self, path: pathlib.Path, like: Any, changes: manifests.Changes
  ) -> Any:
    manifest = manifests.read(path)
    differing = manifests.differences(manifest, self._identity)
    if differing:
      raise errors.ConfigError(
        f"{path} belongs to another config or other data:\n  "
        + "\n  ".join(differing)
        + "\ngive another --workdir, or start over with rethink.main's"
        " --restart_from_scratch"
      )
    exact = manifests.check_fit(manifest, like, str(path), changes)
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
      if not exact:  # all of it is restored first, so that all is checked
        target = manifests.fill(self._orbax_form(path), target)
      state = retries.retry(lambda: self._orbax.restore(path, target))
    except Exception as error:  # of any layer between Orbax and the disk
      raise errors.CheckpointError(
        f"{path} cannot be restored: {type(error).__name__}:"
        f" {str(error).strip().partition('\n')[0]}"
      ) from error
    manifests.check_state(manifest, state, str(path))
    return state if exact else manifests.fill(like, state)

  def _orbax_form(self, path: pathlib.Path) -> Any:
    """Shapes and dtypes of a saved state, in dicts where it had classes."""
    saved: Any = self._orbax.metadata(path).item_metadata
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), saved.tree
    )

  def _finished(self) -> dict[int, pathlib.Path]:
    steps = step_folders.steps(self._folder)
    return {s: p for s, p in steps.items() if (p / manifests.NAME).exists()}

  def _unfinished(self) -> list[pathlib.Path]:
    steps = step_folders.steps(self._folder).values()
    return [p for p in steps if not (p / manifests.NAME).exists()]

  def _clean_up(self, damaged: Mapping[pathlib.Path, str]) -> None:
    for path, why in damaged.items():
      print(
        f"rethink: warning: {why}; set aside as {step_folders.set_aside(path)}",
        file=sys.stderr,
        flush=True,
      )
    for path in self._unfinished():
      gone = "removed" if step_folders.delete(path) else "set aside"
      print(f"{path}: {gone}, its save was never finished", flush=True)


class _NoStore:
  """The `_Store` of a process other than 0: it saves and restores nothing."""

  def __init__(self, *_: Any):
    self.set_unusable_aside = self.check = self.wait = self.close = lambda: None
    self.save = lambda step, state: None
    self.delete = lambda step: None
    self.restore = lambda like, changes, unusable: (None, None)
