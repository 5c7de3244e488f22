import json
import os
import pathlib
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

from rethink import errors
from rethink.pipeline import datasets
from rethink.prepare import arrays, digits, folder, writer
from tests import conftest

_RNG = np.random.default_rng(0)
_GREY = _RNG.integers(0, 256, (9, 6, 5)).astype(np.uint8)
_RGB = _RNG.integers(0, 256, (9, 6, 5, 3)).astype(np.uint8)
_LABELS = np.arange(9) % 4


def _image(path, array, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  PIL.Image.fromarray(array).save(path, **options)
  return path


def _tree(root, suffix):
  """Two splits of six and two images; the class dog is in one of them."""
  for i, name in enumerate(("dog", "cat", "emu") * 2):
    _image(root / "train" / name / f"{i}{suffix}", _RGB[i])
  _image(root / "test" / "cat" / f"0{suffix}", _RGB[6])
  _image(root / "test" / "emu" / f"1{suffix}", _RGB[7])
  return root


def _prepared(source, data_dir, name="mine"):
  writer.write(name, source, str(data_dir))
  return datasets.load(name, str(data_dir))


def _of_folder(root, data_dir, image_size=None):
  return _prepared(folder.source(str(root), image_size), data_dir)


def _npz(path, compressed=False, **changes):
  content = {
    "x_train": _RGB,
    "y_train": _LABELS,
    "x_test": _RGB[:4],
    "y_test": _LABELS[:4],
  }
  content |= changes
  save = np.savez_compressed if compressed else np.savez
  save(path, **{k: v for k, v in content.items() if v is not None})
  return str(path)


def _missing(data_dir, name="mine"):
  with pytest.raises(errors.DataError, match=f"rethink.prepare {name}"):
    datasets.load(name, str(data_dir))
  return True


def _main(*args):
  return conftest.python("-m", "rethink.prepare", *args)


# Folders.


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPEG"])
def test_the_files_of_a_folder_are_stored_byte_by_byte(suffix, tmp_path):
  root = _tree(tmp_path / "images", suffix)
  dataset = _of_folder(root, tmp_path / "data")
  assert dataset.info.splits == {"train": 6, "test": 2}
  for split, names in dataset.names.items():
    files = {
      str(p.relative_to(root / split)) for p in root.glob(f"{split}/*/*")
    }
    assert set(names) == files
  builder = tfds.builder_from_directory(tmp_path / "data" / "mine" / "1.0.0")
  for split in dataset.splits:
    rows = builder.as_data_source(
      split, decoders={"image": tfds.decode.SkipDecoding()}
    )
    for row in rows:
      stored = (root / split / row["id"].decode()).read_bytes()
      assert row["image"] == stored


def test_class_names_are_those_of_all_splits_sorted(tmp_path):
  dataset = _of_folder(_tree(tmp_path / "images", ".png"), tmp_path / "data")
  assert dataset.info.class_names == ("cat", "dog", "emu")
  for split, examples in dataset.splits.items():
    for name, label in zip(dataset.names[split], examples.label, strict=True):
      assert name.split("/")[0] == dataset.info.class_names[label]


def test_png_pixels_are_read_as_they_were(tmp_path):
  dataset = _of_folder(_tree(tmp_path / "images", ".png"), tmp_path / "data")
  examples, names = dataset.splits["train"], dataset.names["train"]
  for name, image in zip(names, examples.image, strict=True):
    np.testing.assert_array_equal(image, _RGB[int(pathlib.Path(name).stem)])


def test_other_files_of_a_folder_are_left_out(tmp_path):
  root = _tree(tmp_path / "images", ".png")
  (root / "README.md").write_text("about")
  (root / "train" / "cat" / "notes.txt").write_text("about")
  (root / "train" / "LICENSE").write_text("free")
  (root / "empty" / "cat").mkdir(parents=True)
  dataset = _of_folder(root, tmp_path / "data")
  assert dataset.info.splits == {"train": 6, "test": 2}


def test_what_is_left_out_of_a_folder_is_said(tmp_path, capsys):
  root = _tree(tmp_path / "images", ".png")
  (root / "train" / "cat" / "photo.webp").write_bytes(b"RIFF")
  (root / "train" / ".ipynb_checkpoints").mkdir()
  _image(root / "train" / ".ipynb_checkpoints" / "0.png", _RGB[0])
  _image(root / "train" / "cat" / "._0.png", _RGB[0])
  (root / "train" / "cat" / "notes").mkdir()
  _image(root / "train" / "cover.png", _RGB[0])
  (root / "test" / "dog").mkdir()
  (root / "docs").mkdir()
  dataset = _of_folder(root, tmp_path / "data")
  assert dataset.info.class_names == ("cat", "dog", "emu")
  assert dataset.info.splits == {"train": 6, "test": 2}
  said = capsys.readouterr().err
  for line in (
    "1 files named *.webp that are no *.jpg or *.png are left out; convert them"
    " if they belong to the data set (such as 'train/cat/photo.webp')",
    "2 hidden files or folders are left out (such as"
    " 'train/.ipynb_checkpoints')",
    "2 folders without images are left out (such as 'docs')",
    "1 images that lie outside of <split>/<class>/ are left out (such as"
    " 'train/cover.png')",
    "1 class folders of other splits than train are empty (such as 'test/dog')",
  ):
    assert f"rethink: {line}\n" in said


@pytest.mark.parametrize("name", ["photo.webp", ""])
def test_a_class_without_a_usable_image_is_named(tmp_path, name):
  root = _tree(tmp_path / "images", ".png")
  (root / "train" / "fox").mkdir()
  if name:
    (root / "train" / "fox" / name).write_bytes(b"")
  with pytest.raises(errors.DataError, match=r"fox has no \*\.jpg or \*\.png"):
    _of_folder(root, tmp_path / "data")


@pytest.mark.parametrize("name", ["cifar10", "imagenet2012", "digits"])
def test_a_known_name_is_not_given_to_other_images(tmp_path, name):
  root = _tree(tmp_path / "images", ".png")
  done = conftest.python(
    *("-m", "rethink.prepare", name),
    *(f"--folder={root}", f"--data_dir={tmp_path / 'data'}"),
  )
  assert done.returncode == 2 and f"my_{name}" in done.stderr
  assert not (tmp_path / "data").exists()


def test_images_of_another_size_are_named_with_the_way_out(tmp_path):
  root = _tree(tmp_path / "images", ".png")
  other = _image(root / "train" / "dog" / "wide.png", _RGB[0, :, :3])
  with pytest.raises(errors.DataError, match="--resize") as caught:
    _of_folder(root, tmp_path / "data")
  assert str(other) in str(caught.value)
  assert _missing(tmp_path / "data")


def test_resizing_makes_all_images_alike(tmp_path):
  root = tmp_path / "images"
  block = np.zeros((8, 16, 3), np.uint8)
  block[:, 4:12] = (200, 100, 50)  # the central square
  _image(root / "train" / "a" / "colour.png", block)
  _image(root / "train" / "a" / "tall.png", block.swapaxes(0, 1))
  _image(root / "train" / "a" / "grey.jpg", np.full((5, 9), 77, np.uint8))
  alpha = np.full((4, 4, 4), (200, 100, 50, 9), np.uint8)
  _image(root / "train" / "a" / "alpha.png", alpha)
  dataset = _of_folder(root, tmp_path / "data", image_size=4)
  assert dataset.info.shape == (4, 4, 3)
  images = dict(
    zip(dataset.names["train"], dataset.splits["train"].image, strict=True)
  )
  for name in ("colour", "tall", "alpha"):
    assert (images[f"a/{name}.png"] == (200, 100, 50)).all(), name
  assert (np.abs(images["a/grey.jpg"].astype(int) - 77) <= 1).all()


def test_f25_odd_images_become_rgb(tmp_path):
  root = tmp_path / "images"
  colour = np.full((8, 8, 3), (200, 100, 50), np.uint8)
  here = root / "train" / "a"
  _image(here / "plain.jpg", colour)
  picture = PIL.Image.fromarray(colour)
  picture.convert("CMYK").save(here / "cmyk.jpg", quality=95)
  picture.save(here / "png_by_content.JPEG", format="PNG")
  _image(here / "one_pixel.png", colour[:1, :1])
  exif = PIL.Image.Exif()
  exif[0x010E] = "a long description " * 3000  # 57 kB, near JPEG's limit
  exif[0x0112] = 6  # turned by 90 degrees
  picture.save(here / "exif.jpg", exif=exif.tobytes(), quality=95)
  dataset = _of_folder(root, tmp_path / "data", image_size=8)
  for name, image in zip(
    dataset.names["train"], dataset.splits["train"].image, strict=True
  ):
    assert image.shape == (8, 8, 3)
    assert np.abs(image.astype(int) - colour).max() <= 6, name


def test_image_size_averages_the_pixels_that_it_joins(tmp_path):
  image = np.random.default_rng(3).integers(0, 256, (8, 8, 3)).astype(np.uint8)
  _image(tmp_path / "images" / "train" / "a" / "0.png", image)
  dataset = _of_folder(tmp_path / "images", tmp_path / "data", image_size=4)
  mean = image.reshape(4, 2, 4, 2, 3).mean((1, 3))
  assert np.abs(dataset.splits["train"].image[0] - mean).max() <= 0.5


@pytest.mark.parametrize("image_size", [None, 4])
@pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8\xff\xe0cut"])
def test_an_unreadable_image_is_named(data, image_size, tmp_path):
  root = _tree(tmp_path / "images", ".jpg")
  broken = root / "test" / "emu" / "1.jpg"
  broken.write_bytes(data)
  with pytest.raises(errors.DataError) as caught:
    _of_folder(root, tmp_path / "data", image_size)
  assert str(broken) in str(caught.value)
  assert _missing(tmp_path / "data")


def test_a_cut_image_is_named(tmp_path):
  root = _tree(tmp_path / "images", ".png")
  broken = root / "train" / "cat" / "1.png"
  broken.write_bytes(broken.read_bytes()[:90])
  with pytest.raises(errors.DataError) as caught:
    _of_folder(root, tmp_path / "data")
  assert str(broken) in str(caught.value)


def test_a_folder_needs_a_train_split(tmp_path):
  root = _tree(tmp_path / "images", ".png")
  shutil.rmtree(root / "train")
  with pytest.raises(errors.DataError, match="split named train"):
    folder.source(str(root), None)


def test_a_folder_that_is_none_is_named(tmp_path):
  with pytest.raises(errors.DataError, match="nowhere is no folder"):
    folder.source(str(tmp_path / "nowhere"), None)


@pytest.mark.parametrize("split", ["all", "to sort", ".thumbs", "test[1]"])
def test_a_folder_that_cannot_name_a_split_is_refused(split, tmp_path):
  root = _tree(tmp_path / "images", ".png")
  (root / "test").rename(root / split)
  with pytest.raises(errors.DataError) as caught:
    _of_folder(root, tmp_path / "data")
  assert split in str(caught.value)
  assert _missing(tmp_path / "data")


# Arrays.


@pytest.mark.parametrize("images", [_GREY, _GREY[..., None], _RGB])
@pytest.mark.parametrize("labels", [_LABELS, _LABELS[:, None].astype(np.uint8)])
def test_arrays_come_back(images, labels, tmp_path):
  path = _npz(
    tmp_path / "a.npz",
    x_train=images,
    y_train=labels,
    x_test=images[:4],
    y_test=labels[:4],
  )
  dataset = _prepared(arrays.source(path), tmp_path)
  assert dataset.info.class_names == ("0", "1", "2", "3")
  expected = images if images.ndim == 4 else images[..., None]
  for split, n in (("train", 9), ("test", 4)):
    order = np.argsort(dataset.names[split])
    examples = dataset.splits[split].take(order)
    np.testing.assert_array_equal(examples.image, expected[:n])
    np.testing.assert_array_equal(examples.label, _LABELS[:n])


_BOTH = {"x_train": _RGB, "x_test": _RGB[:4]}


def _images(change):
  return {key: change(array) for key, array in _BOTH.items()}


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"y_test": None}, "no array 'y_test'.*there are: x_train"),
    (_images(lambda x: x / np.float32(255)), r"float32.*\(x \* 255\)\.round"),
    (_images(lambda x: x / np.float32(2)), r"float32.*x\.round\(\)"),
    (_images(lambda x: x - np.float32(9)), "float32, with values from -9"),
    (_images(lambda x: x * np.nan), "not finite"),
    (_images(lambda x: x.view(np.int8)), r"x\.view\(np\.uint8\) if they"),
    (_images(lambda x: x * np.uint16(257)), "--scale_16bit"),
    (_images(lambda x: x * np.int64(99999)), "scale them to 0 to 255"),
    (_images(lambda x: x.reshape(len(x), -1)), r"flat images.*x\.reshape"),
    (_images(lambda x: x[:, :0]), "no pixels"),
    (_images(lambda x: x.astype("U3")), "numbers from 0 to 255"),
    ({"x_train": _RGB[0, 0]}, "x_train has flat images"),
    ({"x_train": _RGB[0, 0, 0]}, "x_train must be uint8"),
    ({"x_train": _RGB.astype(np.float32)}, "different dtypes, float32 and"),
    ({"x_test": _RGB[:0], "y_test": _LABELS[:0]}, "x_test has no images"),
    ({"x_test": _RGB[:4, :, :3]}, "one size"),
    ({"x_test": _GREY[:4]}, "one size"),
    (_images(lambda x: x[..., :2]), "alpha channel that shows something"),
    (_images(lambda x: np.repeat(x, 2, -1)), "must have 1 or 3 channels"),
    (_images(lambda x: np.swapaxes(x, 1, 3)[..., :4]), "must have 1 or 3 ch"),
    ({"y_train": _LABELS[1:]}, "y_train has the shape .8., but there are 9"),
    ({"y_train": _LABELS + 0.5}, "y_train holds 0.5, which is no class"),
    ({"y_train": _LABELS * np.nan}, "y_train holds nan, which is no class"),
    ({"y_train": np.float16(_LABELS + 2050)}, "cannot tell from its neigh"),
    ({"y_train": np.eye(4)[_LABELS]}, "labels of different kinds"),
    ({"y_train": np.ones((9, 4), int)}, "not one-hot"),
    ({"y_train": _LABELS.astype(complex)}, "dtype complex128; labels are int"),
    ({"y_train": _LABELS.astype("U1")}, "labels of different kinds"),
    ({"y_test": _LABELS[:4] - 1}, r"-1 often marks.*--remap_labels"),
    ({"y_test": _LABELS[:4] + 1}, "class '4' has 1 examples in split 'test'"),
  ],
)
def test_a_wrong_array_is_named(changes, message, tmp_path):
  path = _npz(tmp_path / "a.npz", **changes)
  with pytest.raises(errors.DataError, match=message):
    arrays.source(path)


class _Bomb:
  def __init__(self, victim):
    self.victim = victim

  def __reduce__(self):
    return (os.mkdir, (str(self.victim),))


def test_pickled_objects_are_refused_and_not_run(tmp_path):
  victim = tmp_path / "victim"
  pickled = np.array([_Bomb(victim)], object)
  path = _npz(tmp_path / "a.npz", x_train=pickled)
  with pytest.raises(errors.DataError, match="cannot be read"):
    arrays.source(path)
  assert not victim.exists()
  np.load(path, allow_pickle=True)["x_train"]
  assert victim.exists()


# NumPy leaks the file that it finds to be no zip.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("data", [b"", b"rubbish" * 99, b"PK\x03\x04"])
def test_what_is_no_npz_is_refused(data, tmp_path):
  (tmp_path / "a.npz").write_bytes(data)
  with pytest.raises(errors.DataError, match="cannot be read"):
    arrays.source(str(tmp_path / "a.npz"))


def test_a_single_array_is_no_npz(tmp_path):
  np.save(tmp_path / "a.npy", _RGB)
  with pytest.raises(errors.DataError, match=r"a\.npy"):
    arrays.source(str(tmp_path / "a.npy"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_npz_is_refused_or_harmless(compressed, tmp_path):
  path = tmp_path / "a.npz"
  _npz(path, compressed)
  data = path.read_bytes()
  places, refused = range(0, len(data), 41), 0
  for where in places:
    damage = bytes(b ^ 0xFF for b in data[where : where + 8])
    path.write_bytes(data[:where] + damage + data[where + 8 :])
    try:
      source = arrays.source(str(path))
    except errors.DataError:
      refused += 1
    else:
      images = np.stack([item.image for item in source.splits["train"]])
      np.testing.assert_array_equal(images, _RGB)
  assert refused > len(places) / 2


def test_a_missing_npz_is_named(tmp_path):
  with pytest.raises(errors.DataError, match=r"none\.npz"):
    arrays.source(str(tmp_path / "none.npz"))


# Digits.


def test_the_digits_are_split_once_and_for_all():
  source = digits.source()
  names = {
    split: [item.name for item in items]
    for split, items in source.splits.items()
  }
  assert {k: len(v) for k, v in names.items()} == {"train": 1500, "test": 297}
  both = names["train"] + names["test"]
  assert sorted(both) == [f"digit_{i:04d}" for i in range(1797)]
  assert names["test"][:4] == [
    "digit_0005",
    "digit_0007",
    "digit_0017",
    "digit_0042",
  ]


def test_the_digits_are_those_of_scikit_learn(data_dir):
  import sklearn.datasets

  original = sklearn.datasets.load_digits()
  dataset = datasets.load("digits", data_dir)
  for split, examples in dataset.splits.items():
    index = [int(name.removeprefix("digit_")) for name in dataset.names[split]]
    np.testing.assert_array_equal(examples.label, original.target[index])
    error = examples.image[..., 0] / 255 - original.images[index] / 16
    assert np.abs(error).max() <= 0.5 / 255
    assert (np.bincount(examples.label) >= 0.06 * len(index)).all()


# The disk.


def test_an_existing_data_set_is_refused_and_kept(tmp_path):
  path = _npz(tmp_path / "a.npz")
  before = _prepared(arrays.source(path), tmp_path / "data")
  with pytest.raises(errors.DataError, match="delete that folder first"):
    writer.write("mine", arrays.source(path), str(tmp_path / "data"))
  after = datasets.load("mine", str(tmp_path / "data"))
  assert after.info == before.info


def test_a_data_dir_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  source = arrays.source(_npz(tmp_path / "a.npz"))
  with pytest.raises(errors.DataError, match="file"):
    writer.write("mine", source, str(tmp_path / "file"))


def test_what_is_prepared_is_a_data_set_of_tfds(tmp_path):
  path = writer.write("mine", arrays.source(_npz(tmp_path / "a.npz")), tmp_path)
  assert path == tmp_path / "mine" / "1.0.0"
  info = json.loads((path / "dataset_info.json").read_text())
  assert info["name"] == "mine" and info["fileFormat"] == "array_record"
  row = tfds.builder_from_directory(path).as_data_source("test")[0]
  position = int(row["id"].decode().removeprefix("test_"))
  assert row["label"] == _LABELS[position]
  np.testing.assert_array_equal(row["image"], _RGB[position])


@pytest.fixture(scope="module")
def many(tmp_path_factory):
  """An npz of 3,000 images; long enough to be interrupted."""
  path = tmp_path_factory.mktemp("many") / "many.npz"
  images = np.random.default_rng(1).integers(0, 256, (3000, 16, 16, 3))
  images = images.astype(np.uint8)
  labels = np.arange(3000) % 10
  return _npz(
    path,
    x_train=images,
    y_train=labels,
    x_test=images[:20],
    y_test=labels[:20],
  )


@pytest.mark.parametrize("reached", ["incomplete.*", "incomplete.*/*-train*"])
def test_a_killed_preparer_leaves_nothing_or_all(reached, many, tmp_path):
  process = subprocess.Popen(
    [
      sys.executable,
      "-m",
      "rethink.prepare",
      "mine",
      f"--npz={many}",
      f"--data_dir={tmp_path}",
    ],
    cwd=conftest.ROOT,
    env=conftest.clean_environment(),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  while process.poll() is None and not list((tmp_path / "mine").glob(reached)):
    time.sleep(0.001)
  process.send_signal(signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  root = tmp_path / "mine"
  if not (root / "1.0.0").exists():
    assert _missing(tmp_path)
    assert list(root.glob("incomplete.*"))
    writer.write("mine", arrays.source(many), str(tmp_path))
  assert datasets.load("mine", str(tmp_path)).info.splits == {
    "train": 3000,
    "test": 20,
  }
  assert [path.name for path in root.iterdir()] == ["1.0.0"]


def test_a_full_disk_leaves_nothing(many, tmp_path):
  code = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
sys.argv = ["prepare", "mine", "--npz={many}", "--data_dir={tmp_path}"]
runpy.run_module("rethink.prepare", run_name="__main__")
"""
  result = conftest.python("-c", code)
  assert _missing(tmp_path)
  assert not list((tmp_path / "mine").glob("*"))
  assert result.returncode == 4, result.stderr
  assert "rethink: cannot write data set 'mine'" in result.stderr
  assert "Traceback" not in result.stderr


# The command.


def test_the_command_prepares(tmp_path):
  result = _main("digits", f"--data_dir={tmp_path}")
  assert result.returncode == 0, result.stderr
  assert str(tmp_path / "digits" / "1.0.0") in result.stdout
  assert datasets.load("digits", str(tmp_path)).info.splits["train"] == 1500


@pytest.mark.parametrize(
  ("args", "code", "message"),
  [
    ((), 2, "one name"),
    (("a/b",), 2, "'a/b' is no data set that TFDS"),
    (("a/b", "--npz=c"), 2, "one name"),
    (("a/b/c",), 2, "one name"),
    (("mine:1.0.0",), 2, "one name"),
    (("digits", "--archives=a"), 2, "data sets that TFDS knows"),
    (("mine", "--archives=a", "--npz=b"), 2, "data sets that TFDS knows"),
    (("../up",), 2, "one name"),
    (("no_such_data_set",), 2, "no_such_data_set"),
    (("mine", "--folder=a", "--npz=b"), 2, "not both"),
    (("mine", "--folder=a", "--image_size=0"), 2, "--resize"),
    (("mine", "--npz=a", "--image_size=9"), 2, "--resize"),
    (("digits", "--image_sise=9"), 2, "image_sise"),
    (("digits", "extra"), 2, "one name"),
    (("mine", "--folder=nowhere"), 4, "nowhere is no folder"),
    (("mine", "--npz=nowhere.npz"), 4, r"nowhere\.npz cannot be read"),
  ],
)
def test_a_wrong_command_ends_in_one_sentence(args, code, message, tmp_path):
  result = _main(*args, f"--data_dir={tmp_path}")
  assert result.returncode == code, result.stderr
  assert result.stderr.startswith("rethink: ")
  assert "Traceback" not in result.stderr
  assert re.search(message, result.stderr)
  assert not list(tmp_path.iterdir())
