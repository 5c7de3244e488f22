"""A side of a benchmark waits for its turn: one epoch per line on stdin.

Standard library only: sides run in interpreters that lack this package.
"""

import json
import sys
import time
from collections.abc import Callable


def serve(
  train: Callable[[], None], evaluate: Callable[[], None], **facts
) -> None:
  """Warms up with an epoch, prints the facts, then an epoch per line.

  Args:
    train: trains an epoch and waits for its end.
    evaluate: a clean pass over the training data.
    **facts: printed first; JSON values.
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
