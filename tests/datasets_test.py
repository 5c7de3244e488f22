import functools
import json
import pathlib
import shutil
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rethink import bits, errors
from rethink.pipeline import datasets, tfds_records
from rethink.prepare import writer
from tests import conftest

_CLASSES = ("cat", "dog", "emu")


def _items(n=40, seed=0):
  rng = np.random.default_rng(seed)
  return [
    writer.Item(
      f"photo_{i}",
      rng.integers(0, 256, (6, 5, 3)).astype(np.uint8),
      _CLASSES[i % 3],
    )
    for i in range(n)
  ]


def _write(folder, **splits):
  source = writer.Source("Noise.", _CLASSES, (6, 5, 3), splits)
  return writer.write("photos", source, str(folder))


def _load(folder, name="photos"):
  return datasets.load(name, str(folder))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp("photos")
  _write(folder, train=_items(), test=_items(12, seed=1))
  return folder


@pytest.fixture
def copied(photos, tmp_path):
  """A copy to damage; the folder with its files."""
  shutil.copytree(photos, tmp_path, dirs_exist_ok=True)
  return tmp_path / "photos" / writer.VERSION


def _assert_equal(one, other):
  assert one.info == other.info
  for split in one.splits:
    for a, b in zip(one.splits[split], other.splits[split], strict=True):
      np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.names[split], other.names[split])


def test_the_digits(data_dir):
  dataset = datasets.load("digits", data_dir)
  info = dataset.info
  assert info.name == "digits" and info.version == writer.VERSION
  assert info.splits == {"train": 1500, "test": 297}
  assert info.class_names == tuple("0123456789") and info.num_classes == 10
  assert info.shape == (8, 8, 1)
  for split, n in info.splits.items():
    examples = dataset.splits[split]
    assert examples.image.shape == (n, 8, 8, 1)
    assert examples.image.dtype == np.uint8
    assert examples.label.shape == examples.true_label.shape == (n,)
    assert examples.label.dtype == examples.true_label.dtype == np.int32
    assert examples.id.shape == (n,) and examples.id.dtype == np.uint64


def test_ids_are_sorted_and_unique_over_all_splits(data_dir):
  splits = datasets.load("digits", data_dir).splits
  for examples in splits.values():
    assert (examples.id[1:] > examples.id[:-1]).all()
  ids = np.concatenate([examples.id for examples in splits.values()])
  assert len(np.unique(ids)) == len(ids)


def test_an_example_is_what_its_name_says(photos):
  dataset = _load(photos)
  for split, items in (("train", _items()), ("test", _items(12, seed=1))):
    by_name = {item.name: item for item in items}
    examples, names = dataset.splits[split], dataset.names[split]
    assert sorted(names) == sorted(by_name)
    for i, name in enumerate(names):
      item = by_name[name]
      assert examples.id[i] == bits.hash64(f"{split}/{name}")
      assert dataset.info.class_names[examples.label[i]] == item.label
      np.testing.assert_array_equal(examples.image[i], item.image)
    np.testing.assert_array_equal(examples.label, examples.true_label)
    assert examples.label is not examples.true_label


def test_equal_names_in_two_splits_are_two_examples(photos):
  splits = _load(photos).splits
  assert not set(splits["train"].id) & set(splits["test"].id)


def _in_order(monkeypatch):
  monkeypatch.setattr(
    tfds.core,
    "DatasetInfo",
    functools.partial(tfds.core.DatasetInfo, disable_shuffling=True),
  )


def _in_shards(monkeypatch):
  monkeypatch.setattr(
    tfds.download,
    "DownloadConfig",
    functools.partial(tfds.download.DownloadConfig, num_shards=4),
  )


def _stored_names(folder):
  builder = tfds.builder_from_directory(folder)
  return [row["id"].decode() for row in builder.as_data_source("train")]


def test_neither_record_order_nor_shards_change_anything(
  photos, tmp_path, monkeypatch
):
  test = _items(12, seed=1)
  clean = _load(photos)
  _write(tmp_path / "again", train=_items()[::-1], test=test)
  with monkeypatch.context() as patch:
    _in_order(patch)
    forward = _write(tmp_path / "forward", train=_items(), test=test)
    backward = _write(tmp_path / "backward", train=_items()[::-1], test=test)
  with monkeypatch.context() as patch:
    _in_shards(patch)
    shards = _write(tmp_path / "shards", train=_items(), test=test)
  assert _stored_names(forward) == _stored_names(backward)[::-1]
  assert len(list(shards.glob("*train*-of-00004"))) == 4
  for folder in ("again", "forward", "backward", "shards"):
    _assert_equal(_load(tmp_path / folder), clean)


def _one_pixel(items):
  image = items[7].image.copy()
  image[2, 3, 1] ^= 1
  items[7] = items[7]._replace(image=image)


def _one_label(items):
  items[7] = items[7]._replace(label="emu")


def _one_name(items):
  items[7] = items[7]._replace(name="photo_7b")


def _one_less(items):
  items.pop()


@pytest.mark.parametrize(
  "change", [_one_pixel, _one_label, _one_name, _one_less]
)
def test_the_fingerprint_sees_every_change(change, photos, tmp_path):
  items = _items()
  change(items)
  _write(tmp_path, train=items, test=_items(12, seed=1))
  clean = _load(photos).info.fingerprint
  assert _load(tmp_path).info.fingerprint != clean


def test_the_fingerprint_sees_the_test_split(photos, tmp_path):
  _write(tmp_path, train=_items(), test=_items(12, seed=2))
  assert _load(tmp_path).info.fingerprint != _load(photos).info.fingerprint


def test_moments_are_those_of_all_training_pixels(photos, data_dir):
  for dataset in (_load(photos), datasets.load("digits", data_dir)):
    images = dataset.splits["train"].image
    pixels = images.reshape(-1, images.shape[-1]).astype(np.float64)
    np.testing.assert_allclose(dataset.info.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(dataset.info.std, pixels.std(0), rtol=1e-12)


def test_missing_data_say_how_to_prepare_them(tmp_path):
  with pytest.raises(errors.DataError) as caught:
    datasets.load("cifar99", str(tmp_path))
  command = f"python -m rethink.prepare cifar99 --data_dir={tmp_path}"
  assert f"{command} --folder=DIR\n" in str(caught.value)
  assert "--npz" in str(caught.value)


@pytest.mark.parametrize("name", datasets.PREPARED_BY_NAME)
def test_missing_data_with_a_name_of_their_own_need_no_more(name, tmp_path):
  with pytest.raises(errors.DataError) as caught:
    datasets.load(f"{name}:9.9.9", str(tmp_path))
  command = f"python -m rethink.prepare {name} --data_dir={tmp_path}\n"
  assert command in str(caught.value)
  assert "--npz" not in str(caught.value)


def test_of_two_labels_the_supervised_one_is_meant():
  features = {
    "picture": tfds.features.Image(shape=(2, 2, 1)),
    "coarse": tfds.features.ClassLabel(num_classes=2),
    "fine": tfds.features.ClassLabel(num_classes=4),
  }

  def keys(supervised):
    info = types.SimpleNamespace(features=features, supervised_keys=supervised)
    return tfds_records.keys(info, "/data")

  assert keys(("picture", "fine")) == ("picture", "fine", None)
  assert keys(("picture", "coarse")) == ("picture", "coarse", None)
  for unclear in (None, ("picture", "picture"), ("coarse", "fine")):
    with pytest.raises(errors.DataError, match="'coarse', 'fine'"):
      keys(unclear)


def _versions(folder, *versions):
  first = folder / "photos" / writer.VERSION
  for version in versions:
    other = first.with_name(version)
    shutil.copytree(first, other)
    info = json.loads((other / "dataset_info.json").read_text())
    info["version"] = version
    (other / "dataset_info.json").write_text(json.dumps(info))


def test_the_newest_version_is_read(copied, tmp_path):
  _versions(tmp_path, "2.0.0", "10.0.0", "9.10.0")
  assert _load(tmp_path).info.version == "10.0.0"


def test_a_version_can_be_asked_for(copied, tmp_path):
  _versions(tmp_path, "2.0.0")
  assert _load(tmp_path, "photos:1.0.0").info.version == "1.0.0"
  assert _load(tmp_path, "photos:2.0.0").info.version == "2.0.0"
  with pytest.raises(errors.DataError, match=r"'photos:3\.0\.0' is not in"):
    _load(tmp_path, "photos:3.0.0")


def test_what_a_killed_preparer_left_is_no_data_set(copied, tmp_path):
  copied.rename(copied.with_name("incomplete.AB12CD_1.0.0"))
  with pytest.raises(errors.DataError, match=r"rethink\.prepare photos"):
    _load(tmp_path)


def _records(folder) -> pathlib.Path:
  (path,) = folder.glob("*train*array_record*")
  return path


def _flip(path, where):
  data = bytearray(path.read_bytes())
  data[where] ^= 0xFF
  path.write_bytes(data)


@pytest.mark.parametrize("where", [500, 1000, 2500])
def test_a_flipped_byte_in_the_records_is_seen(where, copied, tmp_path):
  _flip(_records(copied), where)
  with pytest.raises(errors.DataError, match="photos") as caught:
    _load(tmp_path)
  command = f"rethink.prepare --check photos --data_dir={tmp_path}"
  assert command in str(caught.value)


@pytest.mark.parametrize("size", [0, 10, 2000, 65536])
def test_a_cut_record_file_is_seen(size, copied, tmp_path):
  path = _records(copied)
  path.write_bytes(path.read_bytes()[:size])
  with pytest.raises(errors.DataError, match="photos"):
    _load(tmp_path)


@pytest.mark.parametrize(
  "name", ["dataset_info.json", "features.json", "label.labels.txt"]
)
def test_a_cut_description_is_seen(name, copied, tmp_path):
  path = copied / name
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with pytest.raises(errors.DataError, match="photos"):
    _load(tmp_path)


@pytest.mark.parametrize("name", ["records", "features.json"])
def test_a_missing_file_is_seen(name, copied, tmp_path):
  path = _records(copied) if name == "records" else copied / name
  path.unlink()
  with pytest.raises(errors.DataError, match="photos"):
    _load(tmp_path)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" * 9])
def test_what_is_no_image_is_named(data):
  with pytest.raises(errors.DataError, match="'photo_9'"):
    tfds_records.decode(data, "photo_9")


def _subset(examples, n, data_seed=0, balanced=False):
  return datasets.subset(examples, n, data_seed, 10, balanced=balanced)


each_way = pytest.mark.parametrize("balanced", [False, True])


@pytest.fixture
def noise():
  return conftest.random_examples(500, shape=(2, 2, 1))


@each_way
def test_subsets_are_nested_and_exact(balanced, noise):
  smaller = set()
  for n in (1, 2, 37, 250, 499, 500):
    chosen = _subset(noise, n, balanced=balanced)
    ids = set(chosen.id)
    assert len(chosen.id) == len(ids) == n
    assert smaller < ids
    smaller = ids


@each_way
def test_a_subset_keeps_its_examples_whole(balanced, noise):
  chosen = _subset(noise, 60, balanced=balanced)
  where = {name: i for i, name in enumerate(noise.id)}
  index = np.array([where[name] for name in chosen.id])
  for a, b in zip(chosen, noise.take(index), strict=True):
    np.testing.assert_array_equal(a, b)


@each_way
def test_a_subset_depends_on_data_seed_alone(balanced, noise):
  chosen = set(_subset(noise, 60, balanced=balanced).id)
  np.random.seed(3)
  order = np.argsort(noise.id)[::-1]
  again = _subset(noise.take(order), 60, balanced=balanced)
  assert set(again.id) == chosen
  other = _subset(noise, 60, data_seed=1, balanced=balanced)
  assert set(other.id) != chosen


@each_way
def test_a_subset_does_not_look_at_corrupted_labels(balanced, noise):
  corrupted = noise._replace(label=np.zeros_like(noise.label))
  np.testing.assert_array_equal(
    _subset(corrupted, 60, balanced=balanced).id,
    _subset(noise, 60, balanced=balanced).id,
  )


def test_a_balanced_subset_is_balanced_within_one(noise):
  for n in (1, 9, 10, 11, 137, 250):
    label = _subset(noise, n, balanced=True).true_label
    counts = np.bincount(label, minlength=10)
    assert counts.max() - counts.min() <= 1, n


def test_a_balanced_subset_takes_what_there_is_of_rare_classes(noise):
  rare = noise.true_label.copy()
  rare[3:] = np.maximum(rare[3:], 1)
  rare[:3] = 0
  chosen = _subset(noise._replace(true_label=rare), 200, balanced=True)
  counts = np.bincount(chosen.true_label, minlength=10)
  assert counts[0] == 3
  assert np.ptp(counts[1:]) <= 1


@each_way
@pytest.mark.parametrize("n", [-1, 0, 501])
def test_a_subset_out_of_range_is_refused(n, balanced, noise):
  with pytest.raises(errors.ConfigError, match=f"{n} examples .* from 500"):
    _subset(noise, n, balanced=balanced)


def test_loading_needs_neither_network_nor_tensorflow(data_dir, tmp_path):
  (tmp_path / "tensorflow").mkdir()
  (tmp_path / "tensorflow" / "__init__.py").write_text(
    "raise AssertionError('TensorFlow is imported')"
  )
  code = f"""
import socket, sys

def no_network(*args, **kwargs):
  raise AssertionError("the network is used")

socket.socket.__init__ = socket.getaddrinfo = no_network
from rethink.pipeline import datasets
assert datasets.load("digits", {data_dir!r}).info.splits["train"] == 1500
assert "tensorflow" not in sys.modules
"""
  result = conftest.python("-c", code, PYTHONPATH=str(tmp_path))
  assert result.returncode == 0, result.stderr


def test_data_are_read_once_until_their_files_change(copied, tmp_path):
  first = datasets.load("photos", str(tmp_path))
  assert datasets.load("photos", str(tmp_path)) is first
  (shard,) = copied.glob("*-test.*")
  shard.touch()
  again = datasets.load("photos", str(tmp_path))
  assert again is not first
  assert again.info == first.info
