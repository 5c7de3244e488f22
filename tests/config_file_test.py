"""An exception in a config file keeps its traceback; wrong usage does not."""

import pytest

from tests.conftest import python

_HEAD = "from configs import base\n"


def _main(tmp_path, text, *args):
  path = tmp_path / "mine.py"
  path.write_text(text)
  return python("-m", "rethink.main", f"--config={path}", *args), path


@pytest.mark.parametrize(
  ("text", "raised", "line"),
  [
    (_HEAD + "def get_config():\n  return base.nothing\n", "AttributeError", 3),
    (_HEAD + "def get_config():\n  return {}['field']\n", "KeyError", 3),
    (_HEAD + "def get_config():\n  return len(3)\n", "TypeError", 3),
    (_HEAD + "def get_config()\n  return 1\n", "SyntaxError", 2),
    ("import no_such_module\n", "ModuleNotFoundError", 1),
  ],
  ids=lambda value: (
    value if isinstance(value, str) and " " not in value else ""
  ),
)
def test_an_exception_of_a_config_file_keeps_its_traceback(
  tmp_path, text, raised, line
):
  done, path = _main(tmp_path, text)
  assert done.returncode == 1
  assert f'File "{path}", line {line}' in done.stderr
  assert done.stderr.splitlines()[-1].startswith(raised)


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("config = 1\n", "has no function get_config()"),
    ("def get_config():\n  pass\n", "get_config() returned None"),
    (
      "def get_config():\n  return dict(a=1)\n",
      "get_config() returned {'a': 1}",
    ),
    (
      "import ml_collections\nget_config = ml_collections.ConfigDict\n",
      "with the fields of configs/base.py",
    ),
  ],
  ids=["missing", "none", "dict", "empty"],
)
def test_a_file_that_makes_no_config_is_refused_in_a_sentence(
  tmp_path, text, said
):
  done, path = _main(tmp_path, text)
  assert done.returncode == 2
  assert done.stderr.startswith(f"rethink: --config={path}: ")
  assert said in done.stderr and "Traceback" not in done.stderr


def test_a_wrong_field_on_the_command_line_is_one_sentence(tmp_path):
  text = _HEAD + "def get_config():\n  return base.get_config()\n"
  done, _ = _main(tmp_path, text, "--config.num_epoch=3")
  assert done.returncode == 2
  assert "num_epochs" in done.stderr and "Traceback" not in done.stderr
