"""Decides whether a config may go on with the run that a directory holds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rethink import errors
from rethink.storage import fingerprints, step_folders, user_sources


class Continuation(NamedTuple):
  """The comparison of a config with the run that a directory holds.

  Attributes:
    outcome: the fields that the run has from now on.
    longer: whether it has more epochs than before.
    note: what could not be compared, for the user; "" for nothing.
    differences: why the config may not go on with the run; [] if it may.
    config: of config.json: the outcome, its fingerprint and, of a run that got
      more epochs, the fingerprint that it began as, which its states have.
  """

  outcome: dict[str, Any]
  longer: bool
  note: str
  differences: list[str]
  config: dict[str, Any]


def begin(
  record: Any | None,
  outcome: Mapping[str, Any],
  refuse_longer: Callable[[], str],
) -> Continuation:
  """Returns what a config makes of a directory, and says what is not known.

  Args:
    record: the run that has begun there, if there is one.
    outcome: as of `compare`.
    refuse_longer: as of `compare`.

  Raises:
    ConfigError: with what differs, if it is of another run.
  """
  if record is None:
    return _continuation(dict(outcome))
  found = compare(record, outcome, refuse_longer)
  if found.differences:
    raise errors.ConfigError(
      f"{record.workdir} holds a run of another config:\n  "
      + "\n  ".join(found.differences)
      + "\nrun the old config to go on with it, or give another --workdir"
      " (--runs of a sweep), or delete that directory"
    )
  if found.note:
    print(f"{record.workdir}: {found.note}", flush=True)
  return found


def began_as(config: Mapping[str, Any]) -> str:
  """Returns the fingerprint of a run when it was begun, with fewer epochs."""
  return config["began_as" if "began_as" in config else "fingerprint"]


def _continuation(
  outcome: dict[str, Any],
  longer: bool = False,
  note: str = "",
  differences: Sequence[str] = (),
  began: str = "",
) -> Continuation:
  config = {"fingerprint": fingerprints.fingerprint(outcome)}
  if began not in ("", config["fingerprint"]):
    config["began_as"] = began
  config = {**config, "outcome": outcome}
  return Continuation(outcome, longer, note, list(differences), config)


def compare(
  record: Any,
  outcome: Mapping[str, Any],
  refuse_longer: Callable[[], str],
) -> Continuation:
  """Compares a config with a run that has begun.

  Args:
    record: the run, a `runs.Record` whose config.json is there.
    outcome: the fields of the config that change the result, as JSON values.
    refuse_longer: returns why the run may not get more epochs, or "".
  """
  old, new, note = dict(record.config["outcome"]), dict(outcome), ""
  field = user_sources.FIELD
  if field in new and field not in old:
    note = (
      "this run was begun by a version that did not record the source of"
      f" {', '.join(new[field])}: whether it has been edited since is not known"
    )
    del new[field]
  longer, why = _longer(old, new, record, refuse_longer)
  files = {field: old[field]} if field in old and field in new else {}
  lines = fingerprints.differences(
    {k: v for k, v in old.items() if k not in files},
    {k: v for k, v in new.items() if k not in files},
  )
  if longer:
    lines = [line for line in lines if not line.startswith("num_epochs: ")]
  elif why:
    lines = [
      f"{line} ({why})" if line.startswith("num_epochs: ") else line
      for line in lines
    ]
  if files:
    kept = record.workdir / user_sources.FOLDER
    now = user_sources.read(new)
    lines += user_sources.differences(old[field], new[field], kept, now)
  began = began_as(record.config)
  return _continuation(new, longer, note, lines, began)


def _longer(
  old: Mapping[str, Any],
  new: Mapping[str, Any],
  record: Any,
  refuse_longer: Callable[[], str],
) -> tuple[bool, str]:
  """Returns whether more epochs are all that a run gets, or why it may not."""
  if not {"num_epochs", "eval_every_epochs"} <= old.keys() & new.keys():
    return False, ""
  if new["num_epochs"] <= old["num_epochs"]:
    return False, ""
  why = refuse_longer()
  last = record.rows[-1]["epoch"] if record.rows else 0
  every = old["eval_every_epochs"]
  if not why and last % every:
    why = (
      f"epoch {last} was evaluated because it was the last, which with"
      f" config.eval_every_epochs={every} a longer run does not do"
    )
  if not why and not step_folders.steps(record.workdir / "checkpoints"):
    why = "its saved states are gone, so that it would begin anew"
  return not why, why
