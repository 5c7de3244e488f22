"""The example files of the documentation do what they say."""

import csv
import importlib.util
import re
import types

import cv2
import numpy as np
import pytest

from rethink import settings
from rethink.methods import runner
from rethink.pipeline import datasets, run_data
from rethink.prepare import folder
from rethink.storage import runs
from tests.conftest import ROOT
from tests.method_train_test import StopAfter


def _example(name: str) -> types.ModuleType:
  path = ROOT / "docs" / "examples" / f"{name}.py"
  spec = importlib.util.spec_from_file_location(name, path)
  assert spec and spec.loader
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_noisy_labels_from_a_csv_file(config, tmp_path, data_dir):
  path = tmp_path / "noisy_digits.csv"
  _example("csv_labels").write(str(path), data_dir)
  config.train_examples = 0
  config.num_epochs = 1
  config.corruptions = (f"labels_from_file({str(path)!r})",)
  runner.execute(config, str(tmp_path / "run"), data_dir, StopAfter())
  status = runs.read(tmp_path / "run").status
  true = datasets.load("digits", data_dir).splits["train"].true_label
  swapped = np.isin(true, (3, 8)) & (np.arange(len(true)) % 4 == 0)
  assert status["state"] == "done" and swapped.any()
  assert status["corruption"]["changed_fraction"] == swapped.mean()


@pytest.fixture
def human(tmp_path):
  """An archive of made-up labels in the layout of CIFAR-10N."""
  true = np.array([*range(9, -1, -1), *range(10)], np.int8)
  path = tmp_path / "human.npz"
  np.savez(path, clean_label=true, worse_label=(true + 1) % 10)
  return str(path)


def test_human_labels_reach_the_images_of_a_folder(config, tmp_path, human):
  module = _example("human_labels")
  module.write(human, "worse_label", str(tmp_path / "worst.csv"))
  for split in ("train", "test"):
    for k, name in enumerate(module.CLASSES):
      (tmp_path / "images" / split / name).mkdir(parents=True)
      for i in range(2):
        file = tmp_path / "images" / split / name / f"{i:04d}.jpg"
        cv2.imwrite(str(file), np.full((8, 8, 3), 20 * k + i, np.uint8))
  images = str(tmp_path / "images")
  folder.prepare("own", images, str(tmp_path), skip_damaged=False)
  config.dataset, config.train_examples = "own", 0
  path = str(tmp_path / "worst.csv")
  config.corruptions = (f"labels_from_file({path!r})",)
  train = run_data.load(settings.resolve(config), str(tmp_path)).train
  assert len(train.id) == 20
  np.testing.assert_array_equal(train.label, (train.true_label + 1) % 10)


def test_human_labels_have_the_official_names(tmp_path, human):
  path = tmp_path / "worst.csv"
  module = _example("human_labels")
  module.write(human, "worse_label", str(path), official=True)
  with path.open() as file:
    rows = list(csv.reader(file))
  # Positions 0 and 1 are of classes 9 and 8, which people took for 0 and 9.
  assert rows[1:3] == [["train_00000", "airplane"], ["train_00001", "truck"]]
  assert rows[20] == ["train_00019", "airplane"] and len(rows) == 21


def test_corruptions_of_ones_own_in_the_documentation_run(
  config, tmp_path, data_dir, monkeypatch
):
  text = (ROOT / "docs" / "noisy-labels.md").read_text()
  (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  (tmp_path / "documented.py").write_text(block)
  monkeypatch.syspath_prepend(tmp_path)
  names = ("next_class(0.5)", "inverted", "dark_is_zero(below=180.0)")
  config.corruptions = tuple(f"documented:{name}" for name in names)
  loaded = run_data.load(settings.resolve(config), data_dir)
  true, label = loaded.train.true_label, loaded.train.label
  dark = loaded.train.image.mean((1, 2, 3)) < 180
  assert 0 < dark.mean() < 1 and not label[dark].any()
  later = ((label - true) % 10)[~dark]
  assert set(later) == {0, 1}
