"""`make setup` in a folder with stand-ins for Python and pip."""

import os
import shutil
import subprocess

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
  shutil.which("make") is None, reason="make is not installed"
)
_PYTHON = '#!/bin/sh\necho "$@" >> "$(dirname "$0")/../../said"\n'
_VENV = (
  "#!/bin/sh\n"
  'if [ "$1 $2" = "-m venv" ]; then\n'
  "  mkdir -p .venv/bin && cp python .venv/bin/python\n"
  "fi\n"
)


@pytest.fixture
def folder(tmp_path):
  shutil.copy(ROOT / "Makefile", tmp_path)
  for name in ("pyproject.toml", "constraints.txt"):
    (tmp_path / name).write_text("")
  (tmp_path / ".ci").mkdir()
  for name, text in (
    (".ci/find-python", f"#!/bin/sh\necho {tmp_path}/base\n"),
    ("base", _VENV),
    ("python", _PYTHON),
  ):
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(0o755)
  return tmp_path


def _make(folder, goal="setup"):
  done = subprocess.run(
    ["make", goal], cwd=folder, capture_output=True, text=True, timeout=60
  )
  said = folder / "said"
  return done, said.read_text() if said.exists() else ""


def test_an_environment_is_made_once_and_brought_up_to_date_never_deleted(
  folder,
):
  done, said = _make(folder)
  assert done.returncode == 0, done.stderr
  assert "pip install" in said and "-e .[dev]" in said
  mark = folder / ".venv/somebodys_own"
  mark.write_text("JAX for CUDA")
  (folder / "said").unlink()
  assert _make(folder)[1] == ""  # nothing to do
  later = os.stat(folder / ".venv/installed").st_mtime + 10
  os.utime(folder / "pyproject.toml", (later, later))
  done, said = _make(folder)
  assert done.returncode == 0, done.stderr
  assert "brought up to date" in done.stdout and "pip install" in said
  assert mark.exists()
  assert _make(folder, "clean")[0].returncode == 0
  assert not (folder / ".venv").exists()


def test_an_environment_that_make_did_not_make_is_installed_into(folder):
  other = folder / "other"
  (other / "bin").mkdir(parents=True)
  shutil.copy(folder / "python", other / "bin/python")
  (folder / ".venv").symlink_to(other)
  assert _make(folder)[0].returncode == 0
  assert (other / "bin/python").exists() and (folder / ".venv").is_symlink()
  _make(folder, "clean")
  assert (other / "bin/python").exists() and not (folder / ".venv").exists()


@pytest.mark.parametrize("kind", ["folder", "dangling"])
def test_what_is_no_environment_is_named_and_left(folder, kind):
  if kind == "folder":
    (folder / ".venv").mkdir()
    (folder / ".venv/note").write_text("mine")
  else:
    (folder / ".venv").symlink_to(folder / "gone")
  done, _ = _make(folder)
  assert done.returncode != 0 and "make clean" in done.stderr
  assert (folder / ".venv").is_symlink() or (folder / ".venv/note").exists()
