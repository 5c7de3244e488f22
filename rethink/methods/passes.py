"""The passes over the data of a run, wherever its images lie."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from rethink import compiled, evaluate, train_step
from rethink.pipeline import resident, run_data


class Passes(Protocol):
  """The passes over the data of a run.

  Attributes:
    known: the data; on the stream path without their images.
    steps_per_epoch: training steps of one epoch.
  """

  known: run_data.RunData[Any]
  steps_per_epoch: int

  def prepare(self, stopped: Callable[[], bool]) -> None:
    """Prepares the data once, such as the cache; may take hours."""
    ...

  def advance(
    self,
    static: compiled.Static,
    traced: compiled.Traced,
    state: train_step.TrainState,
    start: int,
    stop: int,
  ) -> train_step.TrainState:
    """Trains from step `start` to step `stop` of one epoch; consumes `state`.

    Steps count from the beginning of the run.
    """
    ...

  def clean(
    self,
    static: compiled.Static,
    state: train_step.TrainState,
    split: str,
    between: Callable[[], None],
    **each: Callable,
  ) -> evaluate.Evaluation:
    """Evaluates a split.

    Args:
      static: what the run is compiled for.
      state: what is evaluated.
      split: "train", "test", or "evaluated", the part of the training split
        that is evaluated at every epoch.
      between: called now and then; may raise to stop.
      **each: what is kept of every example, as of `evaluate.Static`.
    """
    ...

  def first_batches(self, examples: int) -> Iterator[resident.Resident]:
    """Yields whole training batches in the order of ids, not augmented.

    Args:
      examples: upper limit on the number of examples; at least one batch comes.
    """
    ...

  def close(self) -> None:
    """Stops the threads and processes that prepare batches."""
    ...
