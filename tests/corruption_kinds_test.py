"""The two kinds of corruption: told apart, called, checked."""

import numpy as np
import pytest

from rethink import errors, example
from rethink.corrupting import kinds
from tests import conftest


def _corrupt_labels(function, n=6):
  examples = conftest.random_examples(n)
  split = example.Split("train", True, examples.id, examples.label)
  context = example.Context(0, conftest.random_info(), 6, split)
  return kinds.corrupt_labels((function,), context, lambda r: examples.image[r])


def _corrupt_images(function, size=6):
  examples = conftest.random_examples(6)
  context = example.Context(0, conftest.random_info(), size)
  return kinds.corrupt_images(function, examples.id, examples.image, context)


def of_labels(ids, labels, context, p=0.0):
  return labels


def by_images(ids, labels, images, context):
  return labels


def of_pixels(ids, images, context, p=0.0):
  return images


def test_the_first_parameters_say_the_kind():
  assert kinds.kind(of_labels) is kinds.Kind.LABELS
  assert kinds.kind(by_images) is kinds.Kind.LABELS_BY_IMAGES
  assert kinds.kind(of_pixels) is kinds.Kind.PIXELS
  assert kinds.of_pixels((of_labels, of_pixels)) == (of_pixels,)


@pytest.mark.parametrize(
  "function",
  [
    lambda ids, context: ids,
    lambda labels, ids, context: labels,
    lambda images, context: images,
    lambda examples, context: (examples, {}),
    lambda: None,
  ],
)
def test_a_function_of_no_kind_is_refused(function):
  said = r"takes \(ids, images, context, \.\.\.\) and returns the images"
  with pytest.raises(errors.ConfigError, match=said):
    kinds.kind(function)


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lambda x: x.astype(float), r"6 integer labels, .* float64\[6\]"),
    (lambda x: x > 3, r"returns bool\[6\]"),
    (lambda x: x[:-1], r"returns int32\[5\]"),
    (lambda x: x[:, None], r"returns int32\[6, 1\]"),
    (lambda x: list(x), "returns list"),
    (lambda x: None, "returns NoneType"),
    (lambda x: np.full_like(x, 10), "labels from 0 to 9, but it returns 10"),
    (lambda x: np.full_like(x, -1), "returns -1"),
  ],
)
@pytest.mark.parametrize("facts", [False, True])
def test_what_is_no_labels_is_refused_naming_the_function(change, said, facts):
  def swapped(ids, labels, context):
    return (change(labels), {}) if facts else change(labels)

  with pytest.raises(errors.ConfigError, match=f"swapped must return.*{said}"):
    _corrupt_labels(swapped)


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lambda x: x / 255, r"uint8\[6, 8, 8, 3\] .*6x6 .* float64.*ly by 255"),
    (lambda x: x * 1.5, r"float64.*from 0 to 382: clip to 0 to 255"),
    (lambda x: x.astype(np.int16), r"returns int16\[6, 8, 8, 3\].*clip"),
    (lambda x: x[:, :7], r"returns uint8\[6, 7, 8, 3\]"),
    (lambda x: x[..., :1], r"returns uint8\[6, 8, 8, 1\]"),
    (lambda x: x[:5], r"returns uint8\[5, 8, 8, 3\]"),
    (lambda x: None, "returns NoneType"),
  ],
)
def test_what_is_no_images_is_refused_naming_the_function(change, said):
  def blurred(ids, images, context):
    return change(images)

  with pytest.raises(errors.ConfigError, match=f"blurred must return.*{said}"):
    _corrupt_images(blurred)


def test_images_computed_in_0_to_1_and_cut_to_integers_are_warned_of(capsys):
  def darkened(ids, images, context):
    return (images / 255 + 0.5).astype(np.uint8)

  def black(ids, images, context):
    return np.zeros_like(images)

  _corrupt_images(black)
  assert capsys.readouterr().err == ""
  for _ in range(2):  # batches
    _corrupt_images(darkened)
  said = capsys.readouterr().err
  assert said.count("darkened returns no value but 0 and 1") == 1


def test_images_may_be_cropped_to_what_the_model_sees():
  def cropped(ids, images, context):
    return example.center_crop(images, context.image_size)

  assert _corrupt_images(cropped)[0].shape == (6, 6, 6, 3)


def test_labels_of_another_integer_type_become_int32():
  labels, facts = _corrupt_labels(
    lambda ids, labels, context: labels.astype(np.int64)
  )
  assert labels.dtype == np.int32 and facts == [{}]


def test_the_data_set_cannot_be_written_to():
  def in_place(ids, labels, context):
    labels[:] = 0
    return labels

  def blank(ids, images, context):
    images[:] = 0
    return images

  with pytest.raises(ValueError, match="read-only"):
    _corrupt_labels(in_place)
  with pytest.raises(ValueError, match="read-only"):
    _corrupt_images(blank)


def test_images_come_in_blocks_and_the_facts_of_the_first_are_kept(
  monkeypatch,
):
  monkeypatch.setattr(kinds, "_BYTES", 4 * 8 * 8 * 3)
  sizes = []

  def counted(ids, labels, images, context):
    assert len(ids) == len(labels) == len(images)
    assert len(context.split.label) == 10  # the whole split
    sizes.append(len(ids))
    return labels, {"block": len(sizes)}

  _, facts = _corrupt_labels(counted, n=10)
  assert sizes == [4, 4, 2] and facts == [{"block": 1}]
