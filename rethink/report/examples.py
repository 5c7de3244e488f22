"""Export of per-example results: when each was fitted, how often forgotten."""

import contextlib
import csv
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from rethink import errors
from rethink.report import results
from rethink.storage import runs

_COLUMNS = (
  "experiment",
  "run",
  "id",
  "label",
  "true_label",
  "corrupted",
  "first_fitted_epoch",
  "times_forgotten",
  "last_epoch",
  "last_loss",
  "last_correct",
)


def scores(workdir: str | os.PathLike) -> dict[str, np.ndarray]:
  """Returns the exported columns from "id" on, each [n].

  The result is {} if the run did not log its examples.

  `first_fitted_epoch` is the first logged epoch with a correct prediction, or 0
  if there is none; `times_forgotten` counts the logged epochs with a wrong
  prediction right after one with a correct prediction.
  """
  by_epoch = runs.read_examples(workdir)
  if not by_epoch:
    return {}
  epochs = sorted(by_epoch)
  last = by_epoch[epochs[-1]]
  correct = np.stack([by_epoch[epoch]["correct"] for epoch in epochs])
  first = np.where(correct.any(0), np.array(epochs)[correct.argmax(0)], 0)
  return {
    "id": last["id"],
    "label": last["label"],
    "true_label": last["true_label"],
    "corrupted": (last["label"] != last["true_label"]).astype(int),
    "first_fitted_epoch": first,
    "times_forgotten": (correct[:-1] & ~correct[1:]).sum(0),
    "last_epoch": np.full(len(first), epochs[-1]),
    "last_loss": last["loss"],
    "last_correct": last["correct"].astype(int),
  }


def export(path: str | os.PathLike, loaded: Iterable[results.Results]) -> int:
  """Writes one CSV row per example of each finished run; returns the count.

  Raises:
    RethinkError: if the file cannot be written; one that was there stays then.
  """
  partial = f"{os.fspath(path)}.partial"
  try:
    with open(partial, "w", newline="", encoding="utf-8") as f:
      written = _write(csv.writer(f, lineterminator="\n"), loaded)
    os.replace(partial, path)
  except OSError as error:
    with contextlib.suppress(OSError):
      os.remove(partial)
    raise errors.RethinkError(
      f"--export_examples={os.fspath(path)} cannot be written:"
      f" {error.strerror}; name a file in a folder that exists, on a disk with"
      " room"
    ) from error
  return written


def _write(out: Any, loaded: Iterable[results.Results]) -> int:
  written = 0
  out.writerow(_COLUMNS)
  for experiment in loaded:
    for name in experiment.source.groups:
      for seed, record in experiment.group(name).done.items():
        columns = [c.tolist() for c in scores(record.workdir).values()]
        for row in zip(*columns, strict=True):
          out.writerow((experiment.source.name, f"{name}/{seed}", *row))
          written += 1
  return written
