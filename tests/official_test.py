import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rethink import bits, errors
from rethink.pipeline import datasets
from rethink.prepare import official
from tests import archives, conftest

NAMES = tuple(official.CONTENT)
VERSIONS = {
  "mnist": "3.0.1",
  "fashion_mnist": "3.0.1",
  "cifar10": "3.0.2",
  "cifar100": "3.0.2",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """A data_dir that holds all four, made of small archives."""
  root = tmp_path_factory.mktemp("official")
  for name in NAMES:
    with archives.registered(archives.make(name, root / name / "archives")):
      official.prepare(name, str(root), str(root / name / "archives"))
  return root


def _rows(prepared, name, split):
  source = tfds.data_source(name, data_dir=str(prepared), split=split)
  return [source[i] for i in range(len(source))]


def _position(name, split, row):
  """Returns the position in the archive of a record, by its pixels."""
  originals = archives.images(name, split)
  same = (originals == row["image"]).all(axis=(1, 2, 3))
  assert same.sum() == 1
  return int(np.argmax(same))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_prepared_is_the_stock_data_set_to_tfds(name, prepared):
  stock = tfds.builder_cls(name)
  builder = tfds.builder_from_directory(prepared / name / VERSIONS[name])
  assert str(builder.version) == str(stock.VERSION) == VERSIONS[name]
  assert builder.name == name
  ours, theirs = builder.info, stock(data_dir="/nowhere").info
  assert ours.features.to_json() == theirs.features.to_json()
  assert ours.supervised_keys == theirs.supervised_keys
  assert ours.description == theirs.description
  assert ours.file_format == tfds.core.FileFormat.ARRAY_RECORD


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_example_of_the_archive_is_stored_as_it_was(
  name, split, prepared
):
  rows = _rows(prepared, name, split)
  positions = [_position(name, split, row) for row in rows]
  assert sorted(positions) == list(range(archives.SIZES[split]))
  assert positions != sorted(positions)  # TFDS shuffles
  for position, row in zip(positions, rows, strict=True):
    assert row["label"] == archives.labels(name, split)[position]
    if name == "cifar100":
      assert row["coarse_label"] == archives.coarse(split)[position]
    if "cifar" in name:
      assert row["id"].decode() == f"{split}_{position:05d}"
    else:
      assert set(row) == {"image", "label"}


@pytest.mark.parametrize("name", NAMES)
def test_load_reads_them(name, prepared):
  dataset = datasets.load(name, str(prepared))
  assert dataset.info.splits == archives.SIZES
  classes = {"cifar10": 10, "cifar100": 100}.get(name)
  if classes:
    assert list(dataset.info.class_names) == archives.class_names(classes)
  for split, examples in dataset.splits.items():
    rows = _rows(prepared, name, split)
    by_name = {
      row["id"].decode() if "id" in row else str(i): row
      for i, row in enumerate(rows)
    }
    for i, key in enumerate(dataset.names[split]):
      assert examples.id[i] == bits.hash64(f"{split}/{key}")
      assert examples.label[i] == by_name[key]["label"]
      np.testing.assert_array_equal(examples.image[i], by_name[key]["image"])


def test_shards_do_not_rename_what_has_no_id(prepared, tmp_path, monkeypatch):
  whole = datasets.load("mnist", str(prepared))
  folder = prepared / "mnist" / "archives"
  config = tfds.download.DownloadConfig
  monkeypatch.setattr(
    tfds.download, "DownloadConfig", lambda **kw: config(num_shards=4, **kw)
  )
  with archives.registered(archives.make("mnist", folder)):
    path = official.prepare("mnist", str(tmp_path), str(folder))
  assert len(list(path.glob("*train*-of-00004"))) == 4
  cut = datasets.load("mnist", str(tmp_path))
  assert cut.info.fingerprint == whole.info.fingerprint


def test_what_is_there_is_kept_and_needs_no_archive(prepared):
  for name in NAMES:
    folder = prepared / name / VERSIONS[name]
    before = (folder / "dataset_info.json").stat().st_mtime_ns
    assert official.prepare(name, str(prepared), "/nowhere") == folder
    assert (folder / "dataset_info.json").stat().st_mtime_ns == before


def test_a_format_that_needs_tensorflow_is_refused_with_the_way_out(
  prepared, tmp_path
):
  folder = tmp_path / "mnist" / "3.0.1"
  shutil.copytree(prepared / "mnist" / "3.0.1", folder)
  info = json.loads((folder / "dataset_info.json").read_text())
  info["fileFormat"] = "tfrecord"
  (folder / "dataset_info.json").write_text(json.dumps(info))
  with pytest.raises(errors.DataError, match=r"tfrecord(.|\n)*prepare mnist"):
    datasets.load("mnist", str(tmp_path))


def test_names_that_need_no_more_are_those_that_the_messages_say():
  assert {"digits", *NAMES} == set(datasets.PREPARED_BY_NAME)


def test_fashion_mnist_from_its_genuine_archives(
  fashion_mnist, tmp_path, no_tensorflow
):
  done = conftest.python(
    "-m",
    "rethink.prepare",
    "fashion_mnist",
    f"--archives={fashion_mnist}",
    f"--data_dir={tmp_path}",
    **no_tensorflow,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == (
    "fashion_mnist 3.0.1: train 60000, test 10000;"
    " fingerprint a7d3d4dd9397fb4cfb01ef5eb9d0878d"
  )


# The stock builders, which need TensorFlow, in an interpreter that has it.

_STOCK = """
import json, sys
import tensorflow_datasets as tfds
from tensorflow_datasets.image_classification import mnist
name, folder, data_dir, registered, sizes = json.loads(sys.argv[1])
builder_class = tfds.builder_cls(name)
if registered:
  builder_class.url_infos = {
    url: tfds.download.checksums.UrlInfo(size, sha256, filename)
    for filename, (url, size, sha256) in registered.items()
  }
  mnist._TRAIN_EXAMPLES, mnist._TEST_EXAMPLES = sizes["train"], sizes["test"]
builder = builder_class(data_dir=data_dir, file_format="array_record")
builder.download_and_prepare(
  download_config=tfds.download.DownloadConfig(
    manual_dir=folder, try_download_gcs=False
  )
)
"""


def _by_the_stock_builder(name, folder, data_dir, registered):
  python = os.environ.get("RETHINK_TF_PYTHON")
  if not python:
    pytest.skip("$RETHINK_TF_PYTHON names no Python that has TensorFlow")
  args = json.dumps(
    [name, str(folder), str(data_dir), registered, archives.SIZES]
  )
  done = subprocess.run(
    [python, "-c", _STOCK, args], capture_output=True, text=True, cwd=data_dir
  )
  assert done.returncode == 0, done.stderr


def _assert_equal_records(name, ours, theirs):
  one = tfds.builder_from_directory(ours / name / VERSIONS[name])
  other = tfds.builder_from_directory(theirs / name / VERSIONS[name])
  assert one.info.features.to_json() == other.info.features.to_json()
  for split in one.info.splits:
    lengths = [b.info.splits[split].shard_lengths for b in (one, other)]
    assert lengths[0] == lengths[1]
    rows = [builder.as_data_source(split) for builder in (one, other)]
    assert len(rows[0]) == len(rows[1])
    for a, b in zip(*rows, strict=True):  # in the order of the records
      assert set(a) == set(b)
      for key in a:
        np.testing.assert_array_equal(a[key], b[key])
  infos = [datasets.load(name, str(d)).info for d in (ours, theirs)]
  assert infos[0] == infos[1]  # with the fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_stock_builder_writes_the_same(name, prepared, tmp_path):
  folder = prepared / name / "archives"
  registered = archives.make(name, folder)
  _by_the_stock_builder(name, folder, tmp_path, registered)
  _assert_equal_records(name, prepared, tmp_path)


@pytest.mark.slow
def test_the_stock_builder_writes_the_same_fashion_mnist(
  fashion_mnist, tmp_path
):
  ours, theirs = tmp_path / "ours", tmp_path / "theirs"
  theirs.mkdir()
  official.prepare("fashion_mnist", str(ours), str(fashion_mnist))
  _by_the_stock_builder("fashion_mnist", fashion_mnist, theirs, None)
  _assert_equal_records("fashion_mnist", ours, theirs)
