"""Optional writers of metrics besides metrics.jsonl."""

import contextlib
import pathlib
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from rethink import distributed, errors
from rethink.storage import files, runs

Sink = Callable[[runs.Row], None]


def _scalars(row: runs.Row) -> dict[str, float]:
  return {k: v for k, v in row.items() if k not in ("step", "epoch")}


def tensorboard(
  stack: contextlib.ExitStack, workdir: pathlib.Path, next_step: int
) -> Sink | None:
  """Returns a writer of TensorBoard events; None without tensorboardX.

  Args:
    stack: closes the writer on exit.
    workdir: run directory; events go to its folder `tensorboard`.
    next_step: first step to be logged. Later events, from a process that died,
      are dropped.
  """
  try:
    from tensorboardX import event_file_writer, summary
    from tensorboardX.proto import event_pb2 as generated
  except ImportError:
    return None
  event_pb2: Any = generated  # whose names only exist at run time
  # Not its SummaryWriter, whose thread would meet the errors of a full disk.
  folder = files.make_folder(workdir / "tensorboard")
  writer = event_file_writer.EventsWriter(str(folder / "events"))
  stack.callback(writer.close)

  def write(**fields: Any) -> None:
    writer.write_event(event_pb2.Event(wall_time=time.time(), **fields))

  start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
  write(file_version="brain.Event:2")
  write(step=next_step, session_log=start)

  def log(row: runs.Row) -> None:
    for key, value in _scalars(row).items():
      write(step=row["step"], summary=summary.scalar(key, value))
    writer.flush()

  return log


def wandb(
  stack: contextlib.ExitStack,
  workdir: pathlib.Path,
  project: str,
  config: Mapping[str, Any],
) -> Sink:
  """Returns a writer to Weights & Biases, where a resumed run continues.

  Raises:
    ConfigError: if wandb is not installed.
  """
  try:
    import wandb as client  # pyright: ignore[reportMissingImports]
  except ImportError:
    raise errors.ConfigError(
      "config.bookkeeping.wandb_project is set, but wandb is not installed;"
      " pip install wandb, or leave the field empty"
    ) from None
  identity = workdir / "wandb_id"
  if not identity.exists():
    identity.write_text(uuid.uuid4().hex, encoding="utf-8")
  run = client.init(
    project=project,
    id=identity.read_text(encoding="utf-8"),
    resume="allow",
    config=dict(config),
    dir=str(workdir),
  )
  stack.callback(run.finish)  # else a sweep's next run would log into this one
  return lambda row: run.log(_scalars(row), step=row["step"])


def open_all(
  stack: contextlib.ExitStack,
  workdir: pathlib.Path,
  next_step: int,
  bookkeeping: Mapping[str, Any],
  outcome: Mapping[str, Any],
) -> list[Sink]:
  """Returns the writers that the config asks for; only process 0 has any."""
  if not distributed.is_first():
    return []
  wanted: dict[str, Callable[[contextlib.ExitStack], Sink | None]] = {}
  if bookkeeping["tensorboard"]:
    wanted["TensorBoard"] = lambda own: tensorboard(own, workdir, next_step)
  if bookkeeping["wandb_project"]:
    project = bookkeeping["wandb_project"]
    wanted["W&B"] = lambda own: wandb(own, workdir, project, outcome)
  return [
    _Optional(name, stack, open_one).log for name, open_one in wanted.items()
  ]


class _Optional:
  """A sink that is dropped, with one warning, when it fails."""

  def __init__(
    self,
    name: str,
    stack: contextlib.ExitStack,
    open_one: Callable[[contextlib.ExitStack], Sink | None],
  ):
    self._name, self._own = name, contextlib.ExitStack()
    self._sink: Sink | None = None
    stack.callback(self._guard, self._own.close)
    self._guard(self._open, open_one)

  def log(self, row: runs.Row) -> None:
    """Hands a row to the sink, if it is still there."""
    if self._sink:
      self._guard(self._sink, row)

  def _open(self, open_one) -> None:
    self._sink = open_one(self._own)

  def _guard(self, action: Callable[..., Any], *args: Any) -> None:
    try:
      action(*args)
    except errors.ConfigError:
      raise
    except Exception as error:  # of another program's code, disk or network
      self._sink = None
      print(
        f"rethink: warning: {self._name} gets no more rows:"
        f" {errors.reason(error)}; the run goes on without it",
        file=sys.stderr,
        flush=True,
      )
      with contextlib.suppress(Exception):  # it may meet the same error again
        self._own.close()
