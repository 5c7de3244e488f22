"""Export of per-example results: when each was fitted, how often forgotten."""

import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from rethink import errors
from rethink.report import output, results, spreadsheets
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
    ConfigError: if a file of examples cannot be read, or the CSV not written.
  """
  try:
    with (
      output.replacing(pathlib.Path(path)) as partial,
      partial.open("w", encoding="utf-8", newline="") as file,
    ):
      spreadsheets.write_rows(file, [_COLUMNS])
      return spreadsheets.write_rows(file, _rows(loaded))
  except OSError as error:
    raise errors.ConfigError(
      f"--export_examples={path} cannot be written: {error.strerror};"
      " name a file in a folder that exists, on a disk with room"
    ) from None


def _rows(loaded: Iterable[results.Results]) -> Iterator[Sequence[Any]]:
  for experiment in loaded:
    for name in experiment.source.groups:
      for seed, record in experiment.group(name).done.items():
        try:
          columns = [c.tolist() for c in scores(record.workdir).values()]
        except ValueError as error:  # of a file that is named like ours
          raise errors.ConfigError(
            f"{record.workdir / 'examples'}: {error}"
          ) from None
        for row in zip(*columns, strict=True):
          yield (experiment.source.name, f"{name}/{seed}", *row)
