"""Inception V3 from a folder of images to a row of metrics."""

import numpy as np
import pytest
from PIL import Image

from rethink import runs
from tests.conftest import python


@pytest.mark.slow
def test_inception_v3_trains_on_a_folder_of_images(tmp_path):
  rng = np.random.default_rng(0)
  for split in ("train", "validation"):
    for i in range(8):
      path = tmp_path / "photos" / split / f"class{i}" / "photo.png"
      path.parent.mkdir(parents=True)
      pixels = rng.integers(0, 256, (90, 80, 3), np.uint8)
      Image.fromarray(pixels).save(path)
  prepare = ["-m", "rethink.prepare", "imagenet_smoke", "--image_size=75"]
  prepare += [f"--folder={tmp_path}/photos", f"--data_dir={tmp_path}"]
  train = ["-m", "rethink.main", "--config=configs/imagenet_smoke.py"]
  train += [f"--data_dir={tmp_path}", f"--workdir={tmp_path}/run"]
  for args in (prepare, train):
    done = python(*args, timeout=550)
    assert done.returncode == 0, done.stderr
  record = runs.read(tmp_path / "run")
  assert record.status["state"] == "done"
  assert [row["epoch"] for row in record.rows] == [2, 4]
  for row in record.rows:
    assert row["train/accuracy"] <= row["train/top5_accuracy"] <= 1
    assert row["test/accuracy"] <= row["test/top5_accuracy"] <= 1
