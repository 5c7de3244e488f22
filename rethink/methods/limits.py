"""Says what limits the numbers of a run, before it begins."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any


def warn(name: str, status: Mapping[str, Any]) -> None:
  """Prints what limits the numbers of a run.

  Args:
    name: name of the run.
    status: content of status.json.
  """
  for text in _limits(status):
    print(f"{name}: {text}", file=sys.stderr, flush=True)


def _limits(status: Mapping[str, Any]) -> Iterator[str]:
  train, test = (status["data"][split] for split in ("train", "test"))
  overlap, facts = status["test_overlap"], status["attainable"]
  if overlap:
    yield (
      f"{overlap:,} of {test:,} test examples are training examples, so that"
      " test accuracy is no measure of generalization: config.train_split and"
      " config.test_split overlap"
    )
  if facts["train_duplicates"]:
    text = f"{facts['train_duplicates']:,} of {train:,} training images equal"
    text += " another one"
    if facts["train_conflicts"]:
      text += (
        f", and {facts['train_conflicts']:,} stand with different labels: train"
        f" accuracy cannot exceed {facts['train_accuracy_ceiling']:.2%}, nor"
        f" train loss fall below {facts['train_loss_floor']:.3f}"
      )
    yield text
  copies = (facts["test_duplicates"] or 0) - overlap
  if copies > 0:
    yield f"{copies:,} of {test:,} test images equal a training image"
