"""The order of the examples: which ones a step's batch contains.

It is a pure function of the step, so that a resumed run needs no saved state.
"""

from typing import NamedTuple, Protocol

import numpy as np

from rethink import bits, errors


class Rows(NamedTuple):
  """The examples of a step's global batch.

  Attributes:
    epoch: epoch that the step belongs to.
    rows: int64[n], positions in the entries of the split.
    mask: bool[n]; False for padding.
  """

  epoch: int
  rows: np.ndarray
  mask: np.ndarray


class Plan(Protocol):
  """The interface of an order: a pure function from step to `Rows`.

  Its length is the number of steps.
  """

  def __len__(self) -> int: ...
  def __getitem__(self, step: int) -> Rows: ...


def steps_per_epoch(n: int, batch_size: int, drop_last: bool) -> int:
  """Returns the number of batches per epoch.

  Args:
    n: number of examples.
    batch_size: examples per batch, over all processes.
    drop_last: leave out a last batch that is not full.

  Raises:
    ConfigError: if no batch is left.
  """
  steps = n // batch_size if drop_last else -(-n // batch_size)
  if not steps:
    raise errors.ConfigError(
      f"config.batch_size is {batch_size}, more than the {n} examples, and"
      " config.drop_last leaves out the only batch; lower config.batch_size"
    )
  return steps


class Epochs:
  """Shuffles every epoch anew, as a function of (seed, epoch, id) alone.

  The last batch of an epoch may be smaller or left out; in every epoch it has
  other examples.
  """

  def __init__(
    self,
    ids: np.ndarray,
    seed: int,
    batch_size: int,
    num_epochs: int,
    *,
    drop_last: bool = False,
  ):
    """Stores the arguments.

    Args:
      ids: uint64[n], of the examples.
      seed: seed of the orders.
      batch_size: examples per batch, over all processes.
      num_epochs: number of epochs.
      drop_last: leave out a last batch that is not full.

    Raises:
      ConfigError: if an epoch has no batch.
    """
    self.steps_per_epoch = steps_per_epoch(len(ids), batch_size, drop_last)
    self._ids, self._seed = ids, seed
    self._batch_size, self._num_epochs = batch_size, num_epochs
    self._cached = (-1, np.zeros(0, np.int64))  # the last epoch and its order

  def __len__(self) -> int:
    return self.steps_per_epoch * self._num_epochs

  def __getitem__(self, step: int) -> Rows:
    epoch, at = divmod(step, self.steps_per_epoch)
    rows = self._order(epoch)[at * self._batch_size :][: self._batch_size]
    return Rows(epoch, rows, np.ones(len(rows), bool))

  def _order(self, epoch: int) -> np.ndarray:
    # Read as one tuple, because other threads may replace it.
    cached, order = self._cached
    if cached != epoch:
      words = bits.bits(self._seed, f"order/{epoch}", self._ids)[:, 0]
      order = np.argsort(words, kind="stable")
      self._cached = (epoch, order)
    return order


class Once(NamedTuple):
  """Visits every example exactly once; pads the last batch to full size.

  Attributes:
    n: number of examples.
    batch_size: examples per batch, over all processes.
  """

  n: int
  batch_size: int

  def __len__(self) -> int:
    return -(-self.n // self.batch_size)

  def __getitem__(self, step: int) -> Rows:
    rows = step * self.batch_size + np.arange(self.batch_size)
    return Rows(0, np.where(rows < self.n, rows, 0), rows < self.n)
