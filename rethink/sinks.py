"""Where rows of metrics go besides metrics.jsonl; all of them optional."""

import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from rethink import errors, runs

Sink = Callable[[runs.Row], None]


def _scalars(row: runs.Row) -> dict[str, float]:
  return {k: v for k, v in row.items() if k not in ("step", "epoch")}


def tensorboard(workdir: pathlib.Path, next_step: int) -> Sink | None:
  """TensorBoard events, if tensorboardX is installed.

  Args:
    workdir: of the run; events go to its folder tensorboard.
    next_step: events from here on, of a process that died, are dropped.
  """
  try:
    import tensorboardX
  except ImportError:
    return None
  writer = tensorboardX.SummaryWriter(
    str(workdir / "tensorboard"), purge_step=next_step
  )

  def log(row: runs.Row) -> None:
    for key, value in _scalars(row).items():
      writer.add_scalar(key, value, row["step"])
    writer.flush()

  return log


def wandb(workdir: pathlib.Path, project: str, config: Mapping) -> Sink:
  """Weights & Biases; a resumed run goes on in the same wandb run.

  Raises:
    ConfigError: if wandb is not installed.
  """
  try:
    import wandb as client  # pyright: ignore[reportMissingImports]
  except ImportError:
    raise errors.ConfigError(
      "config.bookkeeping.wandb_project is set but wandb is not installed;"
      " pip install wandb, or leave the field empty"
    ) from None
  name = hashlib.blake2b(str(workdir).encode(), digest_size=8).hexdigest()
  client.init(
    project=project, id=name, resume="allow", config=dict(config), dir=workdir
  )
  return lambda row: client.log(_scalars(row), step=row["step"])


def open_all(
  workdir: pathlib.Path,
  next_step: int,
  bookkeeping: Mapping[str, Any],
  outcome: Mapping[str, Any],
) -> list[Sink]:
  """The sinks that a config asks for and the machine has."""
  sinks = []
  if bookkeeping["tensorboard"]:
    sinks.append(tensorboard(workdir, next_step))
  if bookkeeping["wandb_project"]:
    sinks.append(wandb(workdir, bookkeeping["wandb_project"], outcome))
  return [sink for sink in sinks if sink]
