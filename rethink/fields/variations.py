"""The name of a variation: what differs from a config, for a run directory."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

_LONGEST = 80


def suffix(config: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
  """Returns "-seed=1,learning_rate=0.1" for what differs; "" for nothing.

  Deterministic. Values that a folder cannot show as they are, or that would
  make a long name, are shortened, and a digest of all of them follows.

  Args:
    config: what is to run.
    plain: the config that the file makes, before the command line changes it.
  """
  differing = {
    field: _json(value)
    for field, value in sorted(config.items())
    if field != "bookkeeping"  # changes no result
    and _json(value) != _json(plain[field])
  }
  if not differing:
    return ""
  exact = ",".join(f"{k}={_shown(v)}" for k, v in differing.items())
  name = ",".join(f"{k}={_plain(_shown(v))}" for k, v in differing.items())
  if name != exact or len(name) > _LONGEST:
    text = json.dumps(differing, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    name = f"{name[:_LONGEST]}-{digest}"
  return f"-{name}"


def _plain(text: str) -> str:
  """Returns a text without what a folder's name should not have."""
  words = re.sub(r"[^A-Za-z0-9.=+-]+", "_", text).strip("_")
  return re.sub(r"_*([=+])_*", r"\1", words)


def _json(value: Any) -> Any:
  return json.loads(json.dumps(value, default=list))


def _shown(value: Any) -> str:
  if isinstance(value, list):
    return "+".join(map(str, value)) or "none"
  return str(value)
