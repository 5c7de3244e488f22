"""Inception V3 from a folder of real photos to rows of metrics."""

import pytest

from rethink.storage import runs
from tests import photos
from tests.conftest import python


@pytest.mark.slow
def test_inception_v3_trains_on_a_folder_of_photos(tmp_path):
  for name, content in photos.sample().items():
    path = tmp_path / "photos" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  data = f"--data_dir={tmp_path}"
  prepare = ["-m", "rethink.prepare", "imagenet_sample", "--keep_sizes"]
  prepare.append("--allow_unseen_classes")
  train = [
    *("-m", "rethink.main", f"--workdir={tmp_path}/run"),
    "--config=configs/imagenet_sample.py:random/75px/seed0",
    "--config.model=inception_v3(auxiliary_weight=0.4, width=0.125)",
    "--config.regularizers=('random_resized_crop()', 'color_jitter()')",
    *("--config.batch_size=24", "--config.train_examples=64"),
    *("--config.num_epochs=4", "--config.eval_train_examples=40"),
  ]
  for args in ([*prepare, f"--folder={tmp_path}/photos"], train):
    done = python(*args, data, timeout=550)
    assert done.returncode == 0, done.stderr
  record = runs.read(tmp_path / "run")
  assert record.status["state"] == "done"
  # 64 photos are two batches of 24: what does not fill a third is left out.
  steps = [(row["epoch"], row["step"]) for row in record.rows]
  assert steps == [(2, 4), (4, 8)]
  for row in record.rows:
    for split, n in (("train", 40), ("test", 64)):
      top1, top5 = row[f"{split}/accuracy"], row[f"{split}/top5_accuracy"]
      assert 0 <= top1 <= top5 <= 1
      assert (top1 * n) == pytest.approx(round(top1 * n))
