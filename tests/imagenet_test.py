import importlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import shard_utils

from rethink import bits, errors
from rethink.pipeline import index, tfds_records
from rethink.pipeline import prepared as sealed
from rethink.prepare import folder, imagenet, writer
from tests import archives, conftest, photos

# The command line, here and in the processes that it starts; small archives
# stand for the official ones, shards hold a few kB, and images come slowly.
_MAIN = """
import json, os, time
from absl import app
from rethink import cli
from rethink.prepare import __main__ as prepare, archives, shard_jobs
from tensorflow_datasets.core.utils import shard_utils
registered, seconds = json.loads(os.environ["MADE"])
archives.registered = lambda name: {
  k: archives.Registered(*v) for k, v in registered.items()
}
shard_utils.ShardConfig.min_shard_size = 2000
read = shard_jobs.Piece.read
def slowly(piece):
  time.sleep(seconds)
  return read(piece)
shard_jobs.Piece.read = slowly
if __name__ == "__main__":
  app.run(prepare.main, flags_parser=cli.parse_flags)
"""
_FIRST = "ILSVRC2012_img_train.tar"


def _prepare(made, source, data_dir, **options):
  with archives.registered(made.registered):
    return imagenet.prepare(str(data_dir), str(source), **options)


def _command(made, seconds, source, data_dir):
  """Runs rethink.prepare, with that delay for each image."""
  path = data_dir / "main.py"
  path.write_text(_MAIN)
  return subprocess.Popen(
    [
      sys.executable,
      path,
      "imagenet2012",
      f"--archives={source}",
      f"--data_dir={data_dir}",
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=conftest.clean_environment()
    | {
      "PYTHONPATH": str(conftest.ROOT),
      "MADE": json.dumps([made.registered, seconds]),
    },
  )


def _rows(path, split):
  builder = tfds.builder_from_directory(path)
  decoders = {"image": tfds.decode.SkipDecoding()}
  source = builder.as_data_source(split, decoders=decoders)
  return [source[i] for i in range(len(source))]


def _content(path):
  """Records in their order, shard by shard, and what is said of them."""
  info = tfds.builder_from_directory(path).info
  return {
    "info": json.loads((path / "dataset_info.json").read_text()),
    "names": sorted(
      f.name for f in path.iterdir() if f.name not in (index.FILE, sealed.FILE)
    ),
    **{split: _rows(path, split) for split in info.splits},
  }


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
  """No processes besides this one, as they take seconds to start."""
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})


@pytest.fixture
def small_shards(monkeypatch):
  monkeypatch.setattr(shard_utils.ShardConfig, "min_shard_size", 2000)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  return photos.make(tmp_path_factory.mktemp("archives"))


@pytest.fixture(scope="module")
def source(made, tmp_path_factory):
  """The folder of the archives of `made`."""
  root = tmp_path_factory.mktemp("archives")
  photos.make(root)
  return root


@pytest.fixture(scope="module")
def prepared(made, source, tmp_path_factory):
  """ImageNet in small, in several shards."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(shard_utils.ShardConfig, "min_shard_size", 2000)
    patch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    return _prepare(made, source, tmp_path_factory.mktemp("data"))


def test_what_is_prepared_is_the_stock_data_set_to_tfds(prepared):
  stock = tfds.builder_cls("imagenet2012")
  builder = tfds.builder_from_directory(prepared)
  assert str(builder.version) == str(stock.VERSION) == "5.1.0"
  assert builder.name == "imagenet2012"
  ours, theirs = builder.info, stock(data_dir="/nowhere").info
  assert ours.features.to_json() == theirs.features.to_json()
  assert ours.features["label"].names == theirs.features["label"].names
  assert ours.supervised_keys == theirs.supervised_keys
  assert ours.description == theirs.description
  assert ours.file_format == tfds.core.FileFormat.ARRAY_RECORD
  assert ours.splits["train"].num_shards > 1


def test_every_photo_is_stored_byte_by_byte_with_its_label(made, prepared):
  names = tfds.builder_from_directory(prepared).info.features["label"].names
  found = {}
  for row in _rows(prepared, "train"):
    found[names[row["label"]], row["file_name"].decode()] = row["image"]
  assert set(found) == set(made.train)
  for key, data in made.train.items():
    if key[1] not in (photos.CMYK, photos.PNG):
      assert found[key] == data, key


def test_validation_labels_go_with_the_sorted_names(made, prepared):
  names = tfds.builder_from_directory(prepared).info.features["label"].names
  path = tfds.core.tfds_path("datasets/imagenet2012/validation_labels.txt")
  wanted = path.read_text().split()
  rows = _rows(prepared, "validation")
  assert len(rows) == len(made.validation) == 7
  for row in rows:
    name = row["file_name"].decode()
    number = int(re.findall(r"_(\d+)\.", name)[0])
    assert names[row["label"]] == wanted[number - 1]
    assert row["image"] == made.validation[name]


def test_f25_odd_photos_are_stored_as_the_stock_builder_does(made, prepared):
  rows = {r["file_name"].decode(): r["image"] for r in _rows(prepared, "train")}
  for name in (photos.CMYK, photos.PNG):
    with PIL.Image.open(io.BytesIO(rows[name])) as image:
      assert (image.format, image.mode) == ("JPEG", "RGB"), name
  png = tfds_records.decode(made.train["n02105855", photos.PNG], "png")
  found = tfds_records.decode(rows[photos.PNG], "stored")
  assert np.abs(found.astype(int) - png).mean() < 6
  cyan = photos.photo(50, 44, 60, 4).astype(int)
  ink = (255 - cyan[..., :3]) * (255 - cyan[..., 3:]) / 255
  found = tfds_records.decode(rows[photos.CMYK], "stored")
  assert np.abs(found - ink).mean() < 6
  assert tfds_records.decode(rows[photos.GREY], "grey").shape[-1] == 1


def test_the_names_of_odd_photos_are_those_of_the_installed_tfds():
  module = importlib.import_module(tfds.builder_cls("imagenet2012").__module__)
  assert photos.CMYK in module.CMYK_IMAGES and photos.PNG in module.PNG_IMAGES


def test_what_is_there_is_kept_and_needs_no_archive(made, prepared):
  before = _content(prepared)
  data_dir = prepared.parent.parent
  assert _prepare(made, "/nowhere", data_dir) == prepared
  assert _content(prepared) == before


def test_one_process_writes_what_many_write(
  made, source, prepared, tmp_path, small_shards
):
  alone = _prepare(made, source, tmp_path)
  assert _content(alone) == _content(prepared)


def test_the_order_is_that_of_tfds_own_writer(tmp_path, small_shards):
  root = tmp_path / "images"
  for i in range(60):
    path = root / "train" / "ab"[i % 2] / f"{i}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photos.encoded(photos.photo(i, 16, 16)))
  theirs = writer.write(
    "one", folder.source(str(root), None), str(tmp_path / "data")
  )
  ours = folder.prepare(
    "two", str(root), str(tmp_path / "data"), skip_damaged=False
  )
  infos = [tfds.builder_from_directory(p).info.splits for p in (theirs, ours)]
  lengths = [info["train"].shard_lengths for info in infos]
  assert lengths[0] == lengths[1] and len(lengths[0]) > 1
  assert infos[0]["train"].num_bytes == infos[1]["train"].num_bytes
  rows = [_rows(path, "train") for path in (theirs, ours)]
  assert rows[0] == rows[1]


# Archives that are not as they should be.


def test_f26_missing_archives_are_explained(tmp_path):
  done = conftest.python(
    "-m",
    "rethink.prepare",
    "imagenet2012",
    f"--archives={tmp_path}",
    f"--data_dir={tmp_path / 'data'}",
  )
  assert done.returncode == 4
  for said in (
    f"{tmp_path / _FIRST} is missing",
    f"{tmp_path / 'ILSVRC2012_img_val.tar'} is missing",
    "147897477120 bytes",
    "6744924160 bytes",
    "b08200a27a8e34218a0e58fde36b0fe8f73bc377f4acea2d91602057c3ca45bb",
    "https://image-net.org/download-images",
    "--archives=FOLDER",
  ):
    assert said in done.stderr, said
  assert not (tmp_path / "data").exists()


def test_f26_a_run_without_data_says_the_command(tmp_path):
  with pytest.raises(errors.DataError, match=r"imagenet2012 .*--archives=DIR"):
    index.open_index("imagenet2012", str(tmp_path))


def test_f26_a_cut_archive_is_named_before_anything_is_read(
  made, source, tmp_path
):
  photos.make(tmp_path)
  path = tmp_path / _FIRST
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(errors.DataError, match=f"{path} has .* bytes"):
    _prepare(made, tmp_path, tmp_path / "data")
  assert not (tmp_path / "data").exists()


def test_f26_a_changed_archive_is_named(made, tmp_path):
  photos.make(tmp_path)
  path = tmp_path / _FIRST
  data = bytearray(path.read_bytes())
  data[-1] ^= 1  # in the padding, which no image has
  path.write_bytes(data)
  with pytest.raises(errors.DataError, match=f"{path} is changed"):
    _prepare(made, tmp_path, tmp_path / "data")
  assert not list((tmp_path / "data").glob("imagenet2012/*"))


def test_an_archive_that_is_no_tar_is_named(tmp_path):
  made = photos.make(tmp_path)
  path = tmp_path / _FIRST
  path.write_bytes(b"\x01" * path.stat().st_size)
  with pytest.raises(errors.DataError, match=f"{path} cannot be read"):
    _prepare(made, tmp_path, tmp_path / "data")


# Damaged photos.


@pytest.fixture
def with_damage(tmp_path):
  """Archives with two photos cut short; their names."""
  train = dict(photos.make(tmp_path / "whole").train)
  cut = [("n01440764", "n01440764_2.JPEG"), ("n01739381", photos.CMYK)]
  for key in cut:
    train[key] = train[key][: len(train[key]) // 2]
  made = photos.make(tmp_path / "cut", train=train)
  return made, tmp_path / "cut", [name for _, name in cut]


def test_f25_a_truncated_photo_is_named_and_stops(with_damage, tmp_path):
  made, source, names = with_damage
  with pytest.raises(errors.DataError) as caught:
    _prepare(made, source, tmp_path / "data")
  assert any(name in str(caught.value) for name in names)
  assert "--skip_damaged" in str(caught.value)
  assert not (tmp_path / "data" / "imagenet2012" / "5.1.0").exists()


def test_f25_truncated_photos_are_left_out_on_request(
  with_damage, tmp_path, capsys
):
  made, source, names = with_damage
  path = _prepare(made, source, tmp_path / "data", skip_damaged=True)
  assert "2 damaged images were left out" in capsys.readouterr().err
  listed = (path / "skipped.txt").read_text()
  assert all(name in listed for name in names)
  stored = [row["file_name"].decode() for row in _rows(path, "train")]
  assert len(stored) == len(made.train) - 2
  assert not set(stored) & set(names)


# Interruptions.


def test_a_killed_preparer_goes_on_with_the_shards_that_are_missing(
  made, source, prepared, tmp_path
):
  root = tmp_path / "imagenet2012"
  process = _command(made, 0.3, source, tmp_path)
  deadline = time.monotonic() + 60
  while not (marks := list(root.glob("incomplete.*/done/*.json"))):
    assert time.monotonic() < deadline and process.poll() is None
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert not (root / "5.1.0").exists()
  kept = {
    path.name: path.stat().st_mtime_ns
    for mark in marks
    for path in root.glob(f"incomplete.*/{mark.stem}")
  }
  assert kept
  process = _command(made, 0, source, tmp_path)
  assert process.communicate() and process.returncode == 0
  assert _content(root / "5.1.0") == _content(prepared)
  for name, stamp in kept.items():
    assert (root / "5.1.0" / name).stat().st_mtime_ns == stamp
  assert not list(root.glob("incomplete.*"))


def test_leaving_damaged_photos_out_keeps_the_shards_that_are_whole(
  with_damage, tmp_path, small_shards, monkeypatch
):
  damaged, cut, names = with_damage
  data = tmp_path / "data"
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})  # in this process
  with pytest.raises(errors.DataError):
    _prepare(damaged, cut, data)
  root = data / "imagenet2012"
  whole = [mark.stem for mark in root.glob("incomplete.*/done/*.json")]
  assert whole
  stamps = {
    path.name: path.stat().st_mtime_ns
    for name in whole
    for path in root.glob(f"incomplete.*/{name}")
  }
  path = _prepare(damaged, cut, data, skip_damaged=True)
  assert {n: (path / n).stat().st_mtime_ns for n in stamps} == stamps
  assert all(name in (path / "skipped.txt").read_text() for name in names)


def test_shards_of_another_plan_are_not_kept(
  made, source, prepared, with_damage, tmp_path, small_shards
):
  damaged, cut, _ = with_damage
  with pytest.raises(errors.DataError):
    _prepare(damaged, cut, tmp_path / "data")
  assert list(tmp_path.glob("data/imagenet2012/incomplete.*"))
  path = _prepare(made, source, tmp_path / "data")
  assert _content(path) == _content(prepared)


def test_a_disk_that_is_too_small_is_said_before(
  made, source, tmp_path, monkeypatch
):
  usage = shutil.disk_usage(tmp_path)._replace(free=1000)
  monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
  with pytest.raises(errors.DataError, match="GB free"):
    _prepare(made, source, tmp_path)


# Real photos, and the stock builder.


def _of_the_sample(root):
  """Both archives, of some of the real photos."""
  photo = photos.sample()
  train, validation = {}, []
  for path, data in photo.items():
    split, wnid, name = path.split("/")
    if split == "train" and len(train) < 40:
      train[wnid, name] = data
    elif split == "validation" and len(validation) < 10:
      validation.append(data)
  odd = photos.make(root / "odd").train
  train |= {k: v for k, v in odd.items() if k[1] in (photos.CMYK, photos.PNG)}
  return photos.make(root / "archives", train, validation)


_STOCK = """
import sys
import tensorflow_datasets as tfds
builder = tfds.builder(
  "imagenet2012", data_dir=sys.argv[2], file_format="array_record"
)
builder.download_and_prepare(
  download_config=tfds.download.DownloadConfig(
    manual_dir=sys.argv[1], try_download_gcs=False
  )
)
"""


@pytest.mark.slow
def test_the_stock_builder_writes_the_same(tmp_path):
  python = os.environ.get("RETHINK_TF_PYTHON")
  if not python:
    pytest.skip("$RETHINK_TF_PYTHON names no Python that has TensorFlow")
  made = _of_the_sample(tmp_path)
  ours = _prepare(made, tmp_path / "archives", tmp_path / "ours")
  theirs = tmp_path / "theirs"
  done = subprocess.run(
    [python, "-c", _STOCK, str(tmp_path / "archives"), str(theirs)],
    capture_output=True,
    text=True,
    cwd=tmp_path,
  )
  assert done.returncode == 0, done.stderr
  theirs = theirs / "imagenet2012" / "5.1.0"
  infos = [tfds.builder_from_directory(path).info for path in (ours, theirs)]
  assert infos[0].features.to_json() == infos[1].features.to_json()
  for split in ("train", "validation"):
    lengths = [info.splits[split].shard_lengths for info in infos]
    assert lengths[0] == lengths[1]
    for a, b in zip(_rows(ours, split), _rows(theirs, split), strict=True):
      assert (a["file_name"], a["label"]) == (b["file_name"], b["label"])
      if a["file_name"].decode() == photos.CMYK:
        pixels = [
          tfds_records.decode(x["image"], "").astype(int) for x in (a, b)
        ]
        assert np.abs(pixels[0] - pixels[1]).max() <= 12
      else:
        assert a["image"] == b["image"], a["file_name"]


def test_photos_of_several_sizes_come_from_a_folder(tmp_path, no_tensorflow):
  root = photos.tree(tmp_path / "images")
  done = conftest.python(
    "-m",
    "rethink.prepare",
    "mine",
    f"--folder={root}",
    "--keep_sizes",
    f"--data_dir={tmp_path / 'data'}",
    **no_tensorflow,
  )
  assert done.returncode == 0, done.stderr
  assert "mine 1.0.0: train 12, validation 12; fingerprint" in done.stdout
  path = tmp_path / "data" / "mine" / "1.0.0"
  found = index.open_index("mine", str(tmp_path / "data"))
  assert found.info.class_names == tuple("abcd")  # of both splits
  for split, entries in found.splits.items():
    rows = _rows(path, split)
    assert sorted(entries.id) == list(entries.id)
    for i, position in enumerate(entries.position):
      row = rows[position]
      name = row["id"]
      assert entries.id[i] == bits.hash64(f"{split}/{name.decode()}")
      assert row["image"] == (root / split / name.decode()).read_bytes()
      assert entries.label[i] == row["label"] == "abcd".index(chr(name[0]))
