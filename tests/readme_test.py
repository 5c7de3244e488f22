"""The README's commands, executed.

An unmarked block runs as it stands. A block after `<!-- long: ... -->` (or
network, gpu) runs the command in that comment instead.
"""

import os
import re
import shutil
import subprocess
import sys

from tests.conftest import ROOT, clean_environment

_BLOCK = re.compile(
  r"(?:<!-- (?:long|network|gpu): (?P<substitute>.*?) -->\n)?"
  r"```bash\n(?P<block>.*?)```",
  re.DOTALL,
)


def commands() -> list[str]:
  text = (ROOT / "README.md").read_text()
  return [m["substitute"] or m["block"] for m in _BLOCK.finditer(text)]


def test_every_command_of_the_readme_runs(tmp_path):
  for name in ("rethink", "configs", "tests"):
    shutil.copytree(ROOT / name, tmp_path / name)
  shutil.copy(ROOT / "pyproject.toml", tmp_path)
  environment = clean_environment() | {
    "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
    "TFDS_DATA_DIR": str(tmp_path / "data"),
  }
  found = commands()
  assert len(found) >= 6
  for command in found:
    # The environment that it activates is the one that the tests run in.
    command = command.replace("source .venv/bin/activate\n", "")
    done = subprocess.run(
      ["bash", "-euo", "pipefail", "-c", command],
      cwd=tmp_path,
      env=environment,
      capture_output=True,
      text=True,
      timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_no_command_escapes_the_test():
  text = (ROOT / "README.md").read_text()
  fences = re.findall(r"^```(\w*)$", text, re.MULTILINE)[::2]
  assert fences.count("bash") == len(commands())
  # The flow of an example, and a line that tests/report_configs_test.py tries.
  assert sorted(set(fences)) == ["", "bash", "python"]
  assert fences.count("") == fences.count("python") == 1


def test_no_placeholder_and_no_local_path_is_left():
  for name in ("README.md", "LOG.md", "CONTRIBUTING.md"):
    assert not re.search(r"[A-Z]_(TABLE|COMMIT)", (ROOT / name).read_text())
  constraints = (ROOT / "constraints.txt").read_text()
  assert "@" not in constraints and "://" not in constraints
