"""Lets a side of a benchmark wait for its turn: one epoch per line on stdin.

Uses only the standard library, because sides may run in other environments.
"""

import json
import sys
import time
from collections.abc import Callable


def serve(
  train: Callable[[], None], evaluate: Callable[[], None], **facts
) -> None:
  """Warms up with one epoch, prints the facts, then runs an epoch per line.

  Args:
    train: trains one epoch and waits until the device is done.
    evaluate: evaluates a clean pass over the training data.
    **facts: JSON values that describe the side, printed first.
  """
  train()
  evaluate()
  print(json.dumps(facts), flush=True)
  for _ in sys.stdin:
    began, worked = time.perf_counter(), time.process_time()
    train()
    trained, spent = time.perf_counter(), time.process_time()
    evaluate()
    times = {
      "train_seconds": trained - began,
      "epoch_seconds": time.perf_counter() - began,
      "train_cpu_seconds": spent - worked,
    }
    print(json.dumps(times), flush=True)
