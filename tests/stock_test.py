import importlib.util
import json
import os
import subprocess

import numpy as np
import pytest

from rethink.pipeline import datasets
from tests import archives, conftest

# The command line; small archives take the place of the official ones.
_MAIN = """
import json, sys
from absl import app
import tensorflow_datasets as tfds
from tensorflow_datasets.image_classification import mnist
from rethink import cli
from rethink.prepare import __main__ as prepare
registered, sizes = json.loads(sys.argv.pop(1))
tfds.builder_cls("kmnist").url_infos = {
  url: tfds.download.checksums.UrlInfo(size, sha256, filename)
  for filename, (url, size, sha256) in registered.items()
}
mnist._TRAIN_EXAMPLES, mnist._TEST_EXAMPLES = sizes["train"], sizes["test"]
app.run(prepare.main, flags_parser=cli.parse_flags)
"""


@pytest.mark.skipif(
  importlib.util.find_spec("tensorflow") is not None,
  reason="TensorFlow is installed",
)
@pytest.mark.parametrize("name", ["kmnist", "emnist/balanced"])
def test_without_tensorflow_the_extra_is_named(name, tmp_path):
  done = conftest.python(
    "-m", "rethink.prepare", name, f"--data_dir={tmp_path}"
  )
  assert done.returncode == 4
  assert done.stderr.count("\n") == 1
  assert "pip install -c constraints.txt -e '.[prepare]'" in done.stderr
  assert not list(tmp_path.iterdir())


def test_the_extra_is_one_that_is_declared():
  text = (conftest.ROOT / "pyproject.toml").read_text()
  assert "\nprepare = [" in text


def _with_tensorflow(registered, *args):
  python = os.environ.get("RETHINK_TF_PYTHON")
  if not python:
    pytest.skip("$RETHINK_TF_PYTHON names no Python that has TensorFlow")
  return subprocess.run(
    [python, "-c", _MAIN, json.dumps([registered, archives.SIZES]), *args],
    capture_output=True,
    text=True,
    cwd=conftest.ROOT,
  )


@pytest.mark.slow
def test_a_stock_builder_prepares_what_load_reads(tmp_path):
  folder, data_dir = tmp_path / "archives", tmp_path / "data"
  args = ("kmnist", f"--archives={folder}", f"--data_dir={data_dir}")
  registered = archives.make("kmnist", folder)
  done = _with_tensorflow(registered, *args)
  assert done.returncode == 0, done.stderr
  assert "kmnist 3.0.1: train 70, test 23; fingerprint" in done.stdout
  dataset = datasets.load("kmnist", str(data_dir))
  for split, examples in dataset.splits.items():
    images = {
      image.tobytes(): label
      for image, label in zip(
        archives.images("kmnist", split),
        archives.labels("kmnist", split),
        strict=True,
      )
    }
    labels = [images[image.tobytes()] for image in examples.image]
    np.testing.assert_array_equal(examples.label, labels)
  again = _with_tensorflow(registered, *args)
  assert again.returncode == 0, again.stderr
  assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_a_stock_builder_refuses_a_changed_archive(tmp_path):
  folder, data_dir = tmp_path / "archives", tmp_path / "data"
  registered = archives.make("kmnist", folder)
  path = folder / "train-images-idx3-ubyte.gz"
  path.write_bytes(path.read_bytes()[:-1])
  done = _with_tensorflow(
    registered, "kmnist", f"--archives={folder}", f"--data_dir={data_dir}"
  )
  assert done.returncode == 4, done.stderr
  assert "the stock builder of 'kmnist' failed" in done.stderr
  assert not list((data_dir / "kmnist").glob("*"))
