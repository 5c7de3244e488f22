"""Files that are there whole or not at all."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from rethink import errors


def write(path: pathlib.Path, content: str | bytes) -> None:
  """Writes a file, whole or not at all."""
  # Also when the machine dies between the two lines.
  partial = path.with_name(path.name + ".partial")
  with open(partial, "wb") as f:
    f.write(content.encode() if isinstance(content, str) else content)
    f.flush()
    os.fsync(f.fileno())
  os.replace(partial, path)


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes a JSON file, whole or not at all."""
  write(path, json.dumps(value, indent=2) + "\n")


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Reads a JSON file; {} if there is none.

  Raises:
    ConfigError: naming the file, if it is no JSON.
  """
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    return {}
  except json.JSONDecodeError as error:
    raise errors.ConfigError(
      f"{path} is no JSON ({error}); restore it or use another --workdir"
    ) from None
