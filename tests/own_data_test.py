"""Data that people bring: what may be lost or meant otherwise is said."""

import io
import os
import re
import unicodedata

import numpy as np
import PIL.Image
import pytest

from rethink import errors
from rethink.pipeline import datasets
from rethink.prepare import (
  archives,
  arrays,
  class_names,
  details,
  folder,
  labels,
  pictures,
  pixels,
  remarks,
  tree,
  writer,
)

_RNG = np.random.default_rng(0)
_RGB = _RNG.integers(0, 256, (6, 5, 6, 3)).astype(np.uint8)


# Labels.


def _classes(train, test=None, *, remap=False, unseen=False):
  """(the classes of these labels, what was remarked)."""
  notes = remarks.Remarks()
  train = np.asarray(train)
  test = train[:1] if test is None else np.asarray(test)
  found = labels.classes(
    {
      "train": ("y_train", train, len(train)),
      "test": ("y_test", test, len(test)),
    },
    "--npz=a.npz",
    notes,
    remap=remap,
    unseen=unseen,
  )
  return found, "\n".join(notes.lines())


def _refused(train, test=None, *, remap=False):
  with pytest.raises(errors.DataError) as caught:
    _classes(train, test, remap=remap)
  return str(caught.value)


_VALUES = [0, 1, 2, 1, 0, 2]


@pytest.mark.parametrize(
  "dtype", [np.int8, np.uint8, np.int64, np.uint64, np.float32, np.float64]
)
def test_labels_0_to_k_are_the_classes_whatever_their_dtype(dtype):
  found, said = _classes(np.array(_VALUES, dtype))
  assert found.names == ("0", "1", "2") and not found.remapped
  assert found.labels["train"].tolist() == _VALUES
  assert found.labels["train"].dtype == np.int64
  assert bool(said) == (np.dtype(dtype).kind == "f")


def test_one_hot_rows_booleans_and_text_mean_what_they_say():
  for dtype in (bool, np.uint8, np.float32):
    found, said = _classes(np.eye(3, dtype=dtype)[_VALUES])
    assert found.labels["train"].tolist() == _VALUES
    assert "one-hot rows of 3 columns" in said
  found, said = _classes([False, True, True])
  assert found.names == ("0", "1") and "False or True" in said
  assert found.labels["train"].tolist() == [0, 1, 1]
  for text in (["cat", "dog", "cat"], [b"cat", b"dog", b"cat"]):
    found, said = _classes(text)
    assert found.names == ("cat", "dog") and not found.remapped
    assert found.labels["train"].tolist() == [0, 1, 0]
  found, _ = _classes([str(c) for c in range(11)])
  assert found.labels["train"].tolist() == list(range(11))  # not 0, 1, 10, 2


@pytest.mark.parametrize(
  ("values", "cause"),
  [
    ([1, 2, 3, 4], r"\(1, 2, 3, 4\).*subtract 1"),
    ([0, 100, 200], r"\(0, 100, 200\)"),
    ([0, 1, 3], "no example has the label 2"),
    (np.array([0, 1, -1]).astype(np.uint8), "255 is what -1 becomes in uint8"),
    (
      np.array([0, -10]).astype(np.uint64),
      "606 is what -10 becomes in uint64",
    ),
    ([-1, 0, 1], "-1 often marks images without a label"),
    ([0, 3_000_000, 7], r"\(0, 7, 3000000\)"),
    ([0, 10**12], "1000000000000"),
    ([0.0, 2.0], r"\(0, 2\)"),
    ([5, 5, 5], r"hold 1 different labels \(5\)"),
  ],
)
def test_f61_other_integers_are_refused_and_remapped_on_request(values, cause):
  said = _refused(values)
  assert re.search(cause, said) and "--remap_labels" in said
  found, _ = _classes(values, remap=True)
  known = sorted({int(x) for x in np.asarray(values).tolist()})
  assert found.names == tuple(map(str, known))
  assert found.remapped == {str(x): i for i, x in enumerate(known)}
  back = [known[i] for i in found.labels["train"]]
  assert back == [int(x) for x in np.asarray(values).tolist()]


def test_f61_signed_and_unsigned_labels_of_two_splits_are_joined_exactly():
  train = np.array([2**63 - 1, 0, 5], np.int64)
  test = np.array([2**63 - 1, 5], np.uint64)
  found, _ = _classes(train, test, remap=True)  # NumPy would join to floats
  assert found.labels["test"].tolist() == [2, 1]


def test_f61_a_class_never_loses_its_examples_or_its_place():
  assert "no example has a 1 in column 2" in _refused(np.eye(3)[[0, 1, 0]])
  said = _refused([0, 1, 2], [3])
  assert "'3' has 1 examples in split 'test' and none in 'train'" in said
  assert "'3' has 1" in _refused([0, 1, 2], [3], remap=True)
  found, said = _classes([0, 1, 2], [3], unseen=True)
  assert found.labels["test"].tolist() == [3] and len(found.names) == 4
  assert said == (
    "1 classes of split 'test' have no examples in 'train' (such as '3')"
  )
  assert "is 'Cat' the same class?" in _refused(["Cat", "dog"], ["cat"])
  assert "begins or ends with a blank" in _refused(["cat ", "dog"])


def test_f61_numbers_that_name_the_images_are_remarked():
  _, said = _classes(np.arange(40))
  assert "40 classes for 40 training images: are these labels" in said
  assert not _classes(np.arange(40) % 20)[1]


def test_f61_a_remapping_is_printed_and_recorded(tmp_path, capsys):
  path = tmp_path / "a.npz"
  y = np.array([200, 0, 100, 0, 200, 100])
  more = {"x_test": _RGB[:2], "y_test": y[:2], "x_val": _RGB}
  np.savez(path, x_train=_RGB, y_train=y, **more)
  with pytest.raises(errors.DataError, match="--remap_labels"):
    arrays.source(str(path))
  source = arrays.source(str(path), remap_labels=True)
  writer.write("mine", source, str(tmp_path))
  said = capsys.readouterr().err
  assert "0 -> 0, 100 -> 1, 200 -> 2" in said
  assert "are left out (such as 'x_val')" in said
  dataset = datasets.load("mine", str(tmp_path))
  assert dataset.info.class_names == ("0", "100", "200")
  order = np.argsort(dataset.names["train"])
  assert dataset.splits["train"].label[order].tolist() == [2, 0, 1, 0, 2, 1]
  text = (tmp_path / "mine/1.0.0/dataset_info.json").read_text()
  assert "0 -> 0, 100 -> 1, 200 -> 2" in text


# Pixels of arrays.


def _images(array, *, scale_16bit=False):
  """(x_train as it is stored, what was remarked)."""
  notes = remarks.Remarks()
  found = pixels.images(
    {"x_train": array, "x_test": array[:2]},
    "a.npz",
    notes,
    scale_16bit=scale_16bit,
  )
  assert found["x_test"].tolist() == found["x_train"][:2].tolist()
  assert found["x_train"].dtype == np.uint8
  return found["x_train"], "\n".join(notes.lines())


@pytest.mark.parametrize(
  ("given", "said"),
  [
    (_RGB, ""),
    (_RGB.astype(np.int64), "whole numbers from 0 to 255 in int64"),
    (_RGB.astype(np.float32), "whole numbers from 0 to 255 in float32"),
    (np.moveaxis(_RGB, -1, 1), "have their 3 channels first"),
    (np.dstack([_RGB.reshape(6, -1, 3), np.full((6, 30, 1), 7)]), "alpha"),
  ],
)
def test_f62_what_is_unambiguous_is_converted_and_said(given, said):
  if given.shape[1] == 30:
    given = given.reshape(6, 5, 6, 4).astype(np.uint8)
  found, remarked = _images(given)
  np.testing.assert_array_equal(found, _RGB)
  assert (said in remarked) if said else not remarked


def test_f62_booleans_and_16_bits_fill_the_range():
  found, said = _images(_RGB > 127)
  np.testing.assert_array_equal(found, (_RGB > 127) * 255)
  assert "0 and 255" in said
  deep = _RGB.astype(np.uint16) * 257
  deep[0, 0, 0] = (65535, 128, 129)
  found, said = _images(deep, scale_16bit=True)
  expected = np.round(deep / 257)
  np.testing.assert_array_equal(found, expected)
  assert found[0, 0, 0].tolist() == [255, 0, 1] and "divided by 257" in said


def test_f62_dark_pixels_are_remarked():
  assert "the largest value is 16 of 255" in _images(_RGB // 15 % 17)[1]


# Pixels of files.


def _encoded(array, kind="PNG", **options):
  buffer = io.BytesIO()
  PIL.Image.fromarray(array).save(buffer, kind, **options)
  return buffer.getvalue()


def _checked(data, **options):
  notes = remarks.Remarks()
  return pictures.checked("a", data, notes.add, **options), notes.lines()


def _palette(alpha):
  image = PIL.Image.fromarray(np.arange(20, dtype=np.uint8).reshape(5, 4), "P")
  image.putpalette(list(range(256)) * 3)
  buffer = io.BytesIO()
  image.save(buffer, "PNG", transparency=bytes(alpha))
  return buffer.getvalue()


def _shape_in_alpha():
  image = np.zeros((5, 4, 4), np.uint8)
  image[1:3, 1:3, 3] = 255
  return image


@pytest.mark.parametrize(
  "data",
  [
    _encoded(_shape_in_alpha()),
    _encoded(_shape_in_alpha()[..., ::3].copy()),  # grey with alpha
    _palette([0, 255]),
  ],
)
def test_f63_a_shape_in_the_alpha_channel_is_refused_with_the_cure(data):
  with pytest.raises(errors.DataError, match="blend it with a background"):
    _checked(data)


def test_f63_an_alpha_channel_that_says_nothing_is_left_out_and_said():
  image = np.dstack([_RGB[0], np.full((5, 6), 9, np.uint8)])
  data = _encoded(image)
  assert _checked(data) == (
    data,
    [
      "1 images have an alpha channel that is the same everywhere: it is left"
      " out (such as 'a')"
    ],
  )
  for data in (_encoded(_RGB[0]), _encoded(_RGB[0], "JPEG"), _palette([255])):
    assert _checked(data) == (data, [])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("turned", [1, 6])
def test_f63_a_rotation_that_is_not_done_is_said(turned, kind):
  exif = PIL.Image.Exif()
  exif[0x0112] = turned
  data = _encoded(_RGB[0], kind, exif=exif.tobytes())
  stored, said = _checked(data)
  assert stored == data
  assert len(said) == (turned != 1) and all("EXIF" in x for x in said)


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "BMP", "TIFF"])
def test_f63_what_only_some_readers_read_is_refused(kind):
  with pytest.raises(errors.DataError, match="is no PNG or JPEG, whatever"):
    _checked(_encoded(_RGB[0], kind))


def test_f63_an_animation_is_said_to_be_one():
  buffer = io.BytesIO()
  first, *others = (PIL.Image.fromarray(x) for x in _RGB)
  first.save(buffer, "PNG", save_all=True, append_images=others)
  assert "only the first is taken" in _checked(buffer.getvalue())[1][0]


def test_f63_16_bits_are_scaled_on_request():
  deep = _RNG.integers(0, 65536, (5, 4)).astype(np.uint16)
  data = _encoded(deep)
  with pytest.raises(errors.DataError, match="--scale_16bit"):
    _checked(data)
  stored, said = _checked(data, scale_16bit=True)
  shown = np.asarray(PIL.Image.open(io.BytesIO(stored)))
  np.testing.assert_array_equal(shown, np.round(deep / 257))
  assert "divided by 257" in said[0]


def test_f63_remarks_of_photos_reach_the_user(tmp_path, capsys):
  exif = PIL.Image.Exif()
  exif[0x0112] = 6
  root = tmp_path / "images"
  for i in range(3):
    path = root / "train" / "a" / f"{i}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(_RGB[i], "JPEG", exif=exif.tobytes()))
  folder.prepare("p", str(root), str(tmp_path), skip_damaged=False)
  said = capsys.readouterr().err
  assert re.search(r"3 images ask viewers to rotate.*'a/\d\.jpg'", said)
  (root / "train" / "a" / "x.png").write_bytes(_encoded(_shape_in_alpha()))
  with pytest.raises(errors.DataError, match="blend it with a background"):
    folder.prepare("q", str(root), str(tmp_path), skip_damaged=False)
  with pytest.raises(errors.DataError, match="blend it with a background"):
    list(folder.source(str(root), 4).splits["train"])


def test_constant_images_are_a_warning(tmp_path):
  plain = np.zeros_like(_RGB)
  plain[1:, 0] = 9
  mixed = _RGB.copy()
  mixed[2:4] = 7
  path = tmp_path / "a.npz"
  y = np.arange(6) % 2
  np.savez(path, x_train=mixed, y_train=y, x_test=plain[:1], y_test=y[:1])
  writer.write("mine", arrays.source(str(path)), str(tmp_path))
  assert details.lines("mine", str(tmp_path)) == [
    "classes: 2 (train/test): 0 3/1, 1 3/0; 1 without examples in test, such as"
    " '1'",
    "images: 5x6 pixels, 3 channels",
    "warning: 2 of 6 images of split 'train' have one single colour",
    "warning: all pixels of all images have one value, so that there is nothing"
    " to learn from (split 'test')",
  ]


# Trees of files.


def _tree(root, *paths):
  for path in paths:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(b"")
  return tree.find(str(root), remarks.Remarks())


def test_f64_folders_named_by_numbers_are_in_their_order(tmp_path):
  found = _tree(tmp_path, *(f"train/{c}/0.png" for c in range(12)))
  assert found.classes == tuple(map(str, range(12)))
  assert class_names.in_order(["10", "9", "a"]) == ("10", "9", "a")


@pytest.mark.parametrize(
  ("paths", "message"),
  [
    (["test/fox/0.png"], "'fox' has 1 examples in split 'test' and none in"),
    (["test/A/0.png"], r"\(is 'a' the same class\?\)"),
    (["train/a /0.png"], "the classes 'a' and 'a ', whose names look alike"),
    (["train/b /0.png"], "'b ', whose name begins or ends with a blank"),
    (["train/b\nc/0.png"], "line break"),
    (["train/b\u2028c/0.png"], "line break"),
    (["train/é/0.png", "train/e\u0301/0.png"], r"'e\\u0301' and '\\xe9'"),
    (["train/a\u200b/0.png"], r"'a' and 'a\\u200b'"),
    (["train/b c/0.png", "train/b\xa0c/0.png"], r"'b c' and 'b\\xa0c'"),
    (["train/a/deep/er/0.png"], r"deep/er/0\.png lies too deep"),
  ],
)
def test_f64_classes_and_images_that_would_be_lost_are_named(
  paths, message, tmp_path
):
  with pytest.raises(errors.DataError, match=message):
    _tree(tmp_path, "train/a/0.png", *paths)


def test_f64_classes_without_training_images_are_taken_on_request(tmp_path):
  with pytest.raises(errors.DataError, match="--allow_unseen_classes"):
    _tree(tmp_path, "train/b/0.png", "test/a/0.png")
  notes = remarks.Remarks()
  found = tree.find(str(tmp_path), notes, unseen=True)
  assert found.classes == ("a", "b") and "no examples in" in notes.lines()[0]


def test_f64_one_form_of_a_name_is_as_good_as_the_other(tmp_path):
  for form in ("NFC", "NFD"):
    name = unicodedata.normalize(form, "é")
    assert _tree(tmp_path / form, f"train/{name}/0.png").classes == (name,)


def _pipe(path):
  os.mkfifo(path)


def _link_to_nothing(path):
  path.symlink_to("nowhere")


def _device(path):
  path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_pipe, _link_to_nothing, _device, os.mkdir])
def test_f65_what_is_no_file_but_named_like_an_image_is_refused(make, tmp_path):
  _tree(tmp_path, "train/a/0.png")
  make(tmp_path / "train/a/1.png")
  with pytest.raises(
    errors.DataError, match=r"1\.png is no regular file but a"
  ):
    tree.find(str(tmp_path), remarks.Remarks())


@pytest.mark.parametrize("path", [b"a/\xff.png", b"\xff/0.png"])
def test_f65_a_name_that_is_not_utf8_is_refused(path, tmp_path):
  _tree(tmp_path, "train/a/0.png")
  whole = os.path.join(os.fsencode(tmp_path), b"train", path)
  os.makedirs(os.path.dirname(whole), exist_ok=True)
  with open(whole, "wb"):
    pass
  with pytest.raises(errors.DataError, match=r"\\xff.*is no text in UTF-8"):
    tree.find(str(tmp_path), remarks.Remarks())


def test_f65_links_to_files_are_files(tmp_path):
  _tree(tmp_path, "train/a/0.png")
  (tmp_path / "train/a/1.png").symlink_to("0.png")
  found = tree.find(str(tmp_path), remarks.Remarks())
  assert [p.name for p in found.files["train"]] == ["0.png", "1.png"]


def test_f65_a_pipe_is_no_npz_and_no_archive(tmp_path):
  os.mkfifo(tmp_path / "a.npz")
  with pytest.raises(errors.DataError, match="no regular file"):
    arrays.source(str(tmp_path / "a.npz"))
  os.mkfifo(tmp_path / "cifar-10-binary.tar.gz")
  with pytest.raises(errors.DataError, match="no regular file"):
    archives.read("cifar10", str(tmp_path), str(tmp_path))
