"""The fingerprint of a config, and how two configs differ."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(outcome: Mapping[str, Any]) -> str:
  """Returns a digest of the fields that change the result of a run."""
  text = json.dumps(outcome, sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """Returns a line for each field that differs."""
  absent = "(no such field)"
  return [
    f"{field}: {old.get(field, absent)!r} -> {new.get(field, absent)!r}"
    for field in sorted({*old, *new})
    if old.get(field, absent) != new.get(field, absent)
  ]
