"""Small files that are whole or not there, also with several writers."""

import concurrent.futures
import os

import pytest

from rethink import errors
from rethink.storage import files


def test_of_many_writers_one_wins_and_nothing_else_is_left(tmp_path):
  path = tmp_path / "results.md"
  texts = [f"{i}" * 100_000 for i in range(8)]
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for _ in range(5):
      list(pool.map(lambda text: files.write(path, text), texts))
      assert path.read_text() in texts
  assert os.listdir(tmp_path) == ["results.md"]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "results.md"
  files.write(path, "old")

  def full(fd):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(errors.RethinkError, match=r"results\.md cannot be writ"):
    files.write(path, "new")
  assert os.listdir(tmp_path) == ["results.md"]
  assert path.read_text() == "old"


def test_a_folder_that_has_gone_is_named(tmp_path):
  with pytest.raises(errors.RethinkError, match=r"gone/a cannot be written"):
    files.write(tmp_path / "gone" / "a", "text")
