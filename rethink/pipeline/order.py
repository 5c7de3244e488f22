"""Which examples are in the batch of a step: a pure function of the step."""

from typing import NamedTuple, Protocol

import numpy as np

from rethink import bits, errors


class Rows(NamedTuple):
  """Which entries are in the global batch of a step.

  Attributes:
    epoch: which the step belongs to.
    rows: int64[n], positions in the entries.
    mask: bool[n]; False for padding.
  """

  epoch: int
  rows: np.ndarray
  mask: np.ndarray


class Plan(Protocol):
  """The order of the examples: step -> `Rows`; pure, with a length in steps."""

  def __len__(self) -> int: ...
  def __getitem__(self, step: int) -> Rows: ...


def steps_per_epoch(n: int, batch_size: int, drop_last: bool) -> int:
  """Batches that n examples make; the last one is short, or dropped.

  Raises:
    ConfigError: if there is none.
  """
  steps = n // batch_size if drop_last else -(-n // batch_size)
  if not steps:
    raise errors.ConfigError(
      f"config.batch_size is {batch_size}, more than the {n} examples, and"
      " config.drop_last leaves out what does not fill it"
    )
  return steps


class Epochs:
  """Every epoch in another order, a function of (seed, epoch, id) alone.

  The last batch of an epoch is short, or dropped: other examples each time.
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
    """For uint64[n] ids; `batch_size` counts over all processes."""
    self.steps_per_epoch = steps_per_epoch(len(ids), batch_size, drop_last)
    self._ids, self._seed = ids, seed
    self._batch_size, self._num_epochs = batch_size, num_epochs
    self._known = (-1, np.zeros(0, np.int64))  # an epoch and its order

  def __len__(self) -> int:
    return self.steps_per_epoch * self._num_epochs

  def __getitem__(self, step: int) -> Rows:
    epoch, at = divmod(step, self.steps_per_epoch)
    rows = self._order(epoch)[at * self._batch_size :][: self._batch_size]
    return Rows(epoch, rows, np.ones(len(rows), bool))

  def _order(self, epoch: int) -> np.ndarray:
    known, order = self._known  # at once: other threads may replace it
    if known != epoch:
      words = bits.bits(self._seed, f"order/{epoch}", self._ids)[:, 0]
      order = np.argsort(words, kind="stable")
      self._known = (epoch, order)
    return order


class Once(NamedTuple):
  """Every example exactly once; the last batch is padded to the same size.

  Attributes:
    n: examples.
    batch_size: over all processes.
  """

  n: int
  batch_size: int

  def __len__(self) -> int:
    return -(-self.n // self.batch_size)

  def __getitem__(self, step: int) -> Rows:
    rows = step * self.batch_size + np.arange(self.batch_size)
    return Rows(0, np.where(rows < self.n, rows, 0), rows < self.n)
