"""The JSON file of a benchmark: machine, settings and samples."""

import json
import os
import pathlib
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rethink.console import plain_tables
from rethink.storage import files, provenance

Sample = dict[str, Any]


class Record:
  """A JSON file that is written after each sample, so that a run can resume.

  Attributes:
    samples: all samples of the file, including those of earlier processes.
  """

  def __init__(self, path: str, settings: Mapping[str, Any]):
    """Opens or creates the file.

    Args:
      path: of the file.
      settings: JSON values that all samples of a file must share.

    Raises:
      SystemExit: if the file has other settings.
    """
    self._path = pathlib.Path(path)
    self._head = {"settings": dict(settings), "machine": machine()}
    self.samples: list[Sample] = []
    if self._path.exists():
      known = json.loads(self._path.read_text())
      if known["settings"] != self._head["settings"]:
        sys.exit(f"{path} has other settings; give another --out")
      self._head, self.samples = known, known["samples"]

  def has(self, **key: Any) -> bool:
    """Returns whether there is a sample with these fields."""
    return any(key.items() <= sample.items() for sample in self.samples)

  def add(self, **sample: Any) -> None:
    """Appends a sample and writes the file."""
    self.samples.append(sample)
    self._path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(self._path, {**self._head, "samples": self.samples})

  def values(self, field: str, **key: Any) -> list[float]:
    """Returns a field of all samples that match the key."""
    return [s[field] for s in self.samples if key.items() <= s.items()]

  def headline(self) -> str:
    """Returns hardware, versions and commit in one line."""
    known = self._head["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in known["versions"].items())
    return f"{known['cpu']}, {known['cores']} cores; {versions}; commit " + (
      known["commit"] + (" with changes" if known["dirty"] else "")
    )


def machine() -> dict[str, Any]:
  """Returns the CPU, the number of cores, versions and commit."""
  cpu = platform.processor() or platform.machine()
  info = pathlib.Path("/proc/cpuinfo")
  if info.exists():
    lines = info.read_text().splitlines()
    names = [line.split(":")[1] for line in lines if "model name" in line]
    cpu = names[0].strip() if names else cpu
  return {"cpu": cpu, "cores": os.cpu_count(), **provenance.read()}


def spread(values: Sequence[float]) -> str:
  """Formats values as their median with minimum and maximum."""
  if not values:
    return "-"
  middle = statistics.median(values)
  low, high = min(values), max(values)
  return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def show(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
  """Prints a Markdown table."""
  print(plain_tables.table(header, rows), flush=True)
