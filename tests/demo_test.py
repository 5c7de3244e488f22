"""The demo's claims, as bands: slow, because they are about whole runs."""

import pytest

from configs import demo
from rethink.storage import runs
from tests.conftest import python


@pytest.mark.slow
def test_the_demo_fits_everything_and_generalizes_only_from_structure(
  tmp_path, data_dir
):
  done = python(
    "-m",
    "rethink.sweep",
    "--config=configs/demo.py",
    f"--runs={tmp_path}",
    f"--data_dir={data_dir}",
    timeout=600,
  )
  assert done.returncode == 0, done.stderr
  for name in demo.RUNS:
    record = runs.read(tmp_path / "demo" / name)
    row = record.rows[-1]
    assert row["train/accuracy"] == 1.0, name
    if name.endswith(("true_labels", "shuffled_pixels")):
      assert row["test/accuracy"] > 0.95, name
    else:  # 297 test images: 12 % of the labels stay true, three sigma are 6 %
      assert 0.04 < row["test/accuracy"] < 0.18, name
    changed = record.status["corruption"]["changed_fraction"]
    expected = 0.9 if name.endswith("random_labels") else 0.0
    assert changed == pytest.approx(expected, abs=0.025)
