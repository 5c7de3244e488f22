"""Provenance of a run besides its config: code, package versions, host."""

import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
from collections.abc import Sequence
from typing import Any

_PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "tensorflow-datasets",
  "numpy",
)


def read(own_files: Sequence[pathlib.Path] = ()) -> dict[str, Any]:
  """Returns commit, dirty flag, versions of Python and packages, processor.

  Args:
    own_files: of the user's own that a run is made of; the code is dirty if the
      commit does not hold one of them as it is.
  """
  root = pathlib.Path(__file__).parent

  def git(*args):
    try:
      done = subprocess.run(
        ["git", *args],
        cwd=root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=10,
      )
    except (OSError, subprocess.SubprocessError):
      return None
    return done.stdout.strip() if done.returncode == 0 else None

  commit = changed = None
  # The package may be installed inside another project's repository, whose
  # commit says nothing about this code.
  if git("ls-files", "--error-unmatch", __file__) is not None:
    commit = git("rev-parse", "HEAD")
    changed = git(
      "status", "--porcelain", "--", str(root), str(root.parent / "configs")
    )
    if own_files:
      status = ("status", "--porcelain", "--ignored", "--untracked-files=all")
      own = git(*status, "--", *map(str, own_files))  # None: of no repository
      changed = f"{changed or ''}{'other files' if own is None else own}"
  return {
    "commit": commit or "unknown",
    "dirty": changed != "" if changed is not None else None,
    "versions": {
      "python": platform.python_version(),
      **packages(),
    },
    "host": f"{_processor()}, {os.cpu_count()} cores",
  }


def packages() -> dict[str, str]:
  """Returns the versions of the packages that a result depends on."""
  return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _processor() -> str:
  try:
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
  except OSError:  # not Linux
    text = ""
  match = re.search(r"model name\s*: (.+)", text)
  return match[1] if match else platform.processor() or platform.machine()
