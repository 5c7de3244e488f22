"""The fields of the record files of a run, which storage/schema.py reads.

A field with a default is one that older versions did not write.
"""

from typing import Annotated, Any

import msgspec

_Count = Annotated[int, msgspec.Meta(ge=0)]
# A part of file names, hence no separators.
_Token = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_-]{1,64}\Z")]


class Data(msgspec.Struct):
  """The data set that a run is bound to; no fields before it is."""

  name: str = ""
  fingerprint: str = ""


class Bookkeeping(msgspec.Struct):
  """The bookkeeping fields that readers of runs use; filled in if missing."""

  fit_threshold: float = 0.05


class Config(msgspec.Struct):
  """The file config.json; the fingerprint is that of the outcome."""

  fingerprint: str
  outcome: dict[str, Any]
  bookkeeping: Bookkeeping
  data: Data


class Sizes(msgspec.Struct):
  """The entry "data" of status.json: numbers of examples."""

  train: _Count
  test: _Count = 0
  skipped: list[str] = []


class Attainable(msgspec.Struct):
  """The entry "attainable" of status.json; null is what is not known."""

  train_accuracy_ceiling: float | None = None
  train_loss_floor: float | None = None
  train_majority: float | None = None
  train_duplicates: _Count | None = None
  test_duplicates: _Count | None = None


class Corruption(msgspec.Struct):
  """The entry "corruption" of status.json."""

  changed_fraction: float
  corruptions: list[dict[str, Any]] = []


class Status(msgspec.Struct, kw_only=True):
  """The file status.json, from the start of a run on."""

  fingerprint: str
  argv: list[str]
  commit: str
  dirty: bool | None
  versions: dict[str, str]
  state: str
  seconds: float
  updated: str
  message: str = ""
  host: str = ""
  method: str = "train"
  pid: int = 0
  processes: int = 1
  backend: str = ""
  device: str = ""
  devices: int = 1
  parameters: _Count = 0
  step: _Count = 0
  epoch: _Count = 0
  data: Sizes | msgspec.UnsetType = msgspec.UNSET
  corruption: Corruption | msgspec.UnsetType = msgspec.UNSET
  attainable: Attainable | None = None
  constant_since_epoch: _Count | None = None
  test_overlap: _Count | None = None


class Done(msgspec.Struct):
  """Fields that status.json has besides if the run is done."""

  device: str
  devices: int
  parameters: _Count
  step: _Count
  epoch: _Count
  data: Sizes
  corruption: Corruption


class DoneData(msgspec.Struct):
  """The entry "data" of config.json of a run that is done."""

  name: str
  fingerprint: str


class Row(msgspec.Struct):
  """A line of metrics.jsonl; all further fields are finite numbers."""

  step: _Count
  epoch: _Count


class Lock(msgspec.Struct):
  """The file lock.json: the process that uses a run directory."""

  token: _Token
  host: str
  pid: int
  machine: str = ""
  started: str = ""
  since: str = ""


class Leaf(msgspec.Struct):
  """An array of a saved state."""

  shape: list[int]
  dtype: str
  digest: str


class Manifest(msgspec.Struct):
  """The file manifest.json of a saved state."""

  step: _Count
  finite: bool
  config: str
  data: str
  commit: str
  leaves: dict[str, Leaf]
  files: dict[str, str]
  digest: str
