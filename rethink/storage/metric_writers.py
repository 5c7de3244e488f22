"""Optional writers of metrics besides metrics.jsonl."""

import contextlib
import pathlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from rethink import distributed, errors
from rethink.storage import runs

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
    import tensorboardX
  except ImportError:
    return None
  writer = stack.enter_context(
    tensorboardX.SummaryWriter(
      str(workdir / "tensorboard"), purge_step=next_step
    )
  )

  def log(row: runs.Row) -> None:
    for key, value in _scalars(row).items():
      writer.add_scalar(key, value, row["step"])
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
  sinks = []
  if bookkeeping["tensorboard"]:
    sinks.append(tensorboard(stack, workdir, next_step))
  if bookkeeping["wandb_project"]:
    sinks.append(wandb(stack, workdir, bookkeeping["wandb_project"], outcome))
  return [sink for sink in sinks if sink]
