import io
import pickle

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rethink import bits, errors
from rethink.pipeline import crops, tfds_records
from tests import photos

_ALL = (
  crops.Whole((48, 64, 3)),
  crops.Central(32),
  crops.RandomCrop(32),
)


def _words(frame, seed=0):
  return bits.bits(seed, "test", np.arange(1), frame.words)[0]


def _frame(frame, image, seed=0, kind="PNG", **options):
  data = photos.encoded(image, kind, **options)
  return frame(data, "it", _words(frame, seed))


def _gradient(height, width):
  """An image whose red says the row and whose green says the column."""
  image = np.zeros((height, width, 3), np.uint8)
  image[..., 0] = np.arange(height)[:, None]
  image[..., 1] = np.arange(width)
  image[..., 2] = 200
  return image


@pytest.mark.parametrize("frame", _ALL, ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("channels", [3, 1, 4])
def test_frames_are_rgb_of_the_shape_that_they_say(frame, channels):
  image = photos.photo(1, 48, 64, channels)
  if channels == 1 and isinstance(frame, crops.Whole):
    frame = crops.Whole((48, 64, 1))
  found = _frame(frame, image, kind="JPEG")
  assert found.shape == frame.shape and found.dtype == np.uint8
  assert pickle.loads(pickle.dumps(frame)) == frame


def test_whole_is_what_the_resident_path_sees():
  data = photos.encoded(photos.photo(2, 48, 64), "JPEG")
  found = crops.Whole((48, 64, 3))(data, "it", np.zeros(0, np.uint64))
  np.testing.assert_array_equal(found, tfds_records.decode(data, "it"))


def test_an_image_of_another_size_is_named():
  with pytest.raises(errors.DataError, match="'it' has shape"):
    _frame(crops.Whole((4, 4, 3)), photos.photo(1, 4, 5))


@pytest.mark.parametrize("frame", _ALL[1:], ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("data", [b"", b"none", b"\xff\xd8\xff\xe0cut"])
def test_what_cannot_be_decoded_is_named(frame, data):
  with pytest.raises(errors.DataError, match="'it'"):
    frame(data, "it", _words(frame))


@pytest.mark.parametrize("frame", _ALL, ids=lambda f: type(f).__name__)
def test_a_cut_jpeg_is_named(frame):
  data = photos.encoded(photos.photo(1, 48, 64))
  with pytest.raises(errors.DataError, match="'it'"):
    frame(data[: len(data) // 2], "it", _words(frame))


def test_central_keeps_the_fraction_of_both_sides():
  found = _frame(crops.Central(100, fraction=0.5), _gradient(200, 100))
  assert abs(int(found[0, 0, 0]) - 50) <= 1
  assert abs(int(found[-1, 0, 0]) - 149) <= 1
  assert abs(int(found[0, 0, 1]) - 25) <= 1
  assert abs(int(found[0, -1, 1]) - 74) <= 1
  assert (found[..., 2] == 200).all()  # red comes first, blue last


def test_all_of_an_image_of_the_right_size_is_the_image_itself():
  image = photos.photo(3, 40, 40)
  found = _frame(crops.Central(40, fraction=1.0), image)
  np.testing.assert_array_equal(found, image)


def test_exif_turns_nothing():
  exif = PIL.Image.Exif()
  exif[0x0112] = 6  # to be shown turned by 90 degrees
  image = photos.photo(4, 48, 64)
  plain = _frame(crops.Central(32), image, kind="JPEG")
  tagged = _frame(crops.Central(32), image, kind="JPEG", exif=exif.tobytes())
  np.testing.assert_array_equal(plain, tagged)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_reduced_decode_shows_the_same(factor):
  image = photos.photo(5, 40 * factor, 50 * factor)
  options = {"kind": "JPEG", "quality": 95, "subsampling": 0}
  full, fast = (
    _frame(crops.Central(40, 1.0, reduced), image, **options)
    for reduced in (False, True)
  )
  smooth = cv2.resize(image, (40, 40), interpolation=cv2.INTER_AREA)
  assert np.abs(fast.astype(int) - smooth).mean() < 6
  assert (factor == 1) == np.array_equal(full, fast)


def test_an_image_is_never_decoded_smaller_than_the_frame(monkeypatch):
  seen = []
  decode = cv2.imdecode
  monkeypatch.setattr(
    cv2,
    "imdecode",
    lambda data, flags: seen.append(decode(data, flags)) or seen[-1],
  )
  for seed in range(30):
    size = 16
    height, width = 20 + 13 * seed, 300 - 7 * seed
    image = photos.photo(seed, height, width)
    frame = crops.RandomCrop(size, min_area=0.5)
    _frame(frame, image, seed, kind="JPEG")
    box = frame.box(height, width, bits.uniform(_words(frame, seed)))
    factor = round(height / seen[-1].shape[0])
    assert factor == 1 or min(box.height, box.width) // factor >= size
  assert len({image.shape[0] for image in seen}) > 2


@settings(max_examples=200, deadline=None)
@given(
  height=st.integers(1, 3000),
  width=st.integers(1, 3000),
  seed=st.integers(0, 2**32),
)
def test_a_random_crop_lies_in_the_image_and_keeps_its_bounds(
  height, width, seed
):
  frame = crops.RandomCrop(8)
  box = frame.box(height, width, bits.uniform(_words(frame, seed)))
  assert box.top >= 0 and box.left >= 0 and box.height > 0 and box.width > 0
  assert box.top + box.height <= height and box.left + box.width <= width
  if min(height, width) > 100 and box[2:] != (height, width):
    assert 0.73 < box.width / box.height < 1.36
    assert box.height * box.width >= 0.1 * height * width


def test_random_crops_cover_their_range():
  frame = crops.RandomCrop(8)
  words = bits.bits(0, "test", np.arange(4000), frame.words)
  boxes = [frame.box(300, 400, bits.uniform(row)) for row in words]
  areas = np.array([b.height * b.width / 120000 for b in boxes])
  aspects = np.array([b.width / b.height for b in boxes])
  assert 0.1 <= areas.min() < 0.11 and 0.85 < areas.max() <= 1
  assert abs(aspects.mean() - 1.04) < 0.01
  # All of the image is seen, none of its sides more often than the other.
  middle = np.array([b.left + b.width / 2 for b in boxes])
  assert abs(middle.mean() - 200) < 5 and middle.min() < 60


def test_a_random_crop_shows_the_box_that_it_draws():
  frame = crops.RandomCrop(64)
  for seed in range(10):
    words = _words(frame, seed)
    box = frame.box(200, 180, bits.uniform(words))
    found = frame(photos.encoded(_gradient(200, 180), "PNG"), "it", words)
    assert abs(int(found[0, 0, 0]) - box.top) <= 2
    assert abs(int(found[0, 0, 1]) - box.left) <= 2
    assert abs(int(found[-1, -1, 0]) - (box.top + box.height - 1)) <= 2
    assert abs(int(found[-1, -1, 1]) - (box.left + box.width - 1)) <= 2


def test_the_header_says_the_size():
  data = photos.encoded(photos.photo(1, 31, 57))
  with PIL.Image.open(io.BytesIO(data)) as image:
    assert crops._size(data, "it") == (31, 57) == image.size[::-1]
