import json
import math

import numpy as np
import pytest

from rethink import errors, settings
from rethink.corrupting import kinds
from rethink.pipeline import datasets, run_data

_OWN = '''
import numpy as np

def blank(ids, images, context):
  """A corruption that states a fact."""
  return np.zeros_like(images), {"value": 0}

def faint(ids, labels, images, context, below: int):
  """Labels of faint images become 0; nothing is stated."""
  return np.where(images.sum((1, 2, 3)) < below, 0, labels)

def old(examples, context):
  return examples, {}
'''


@pytest.fixture
def load(config, data_dir):
  """load(field=value, ...): the splits of all digits with these fields."""

  def loaded(**fields):
    config.train_examples = 0
    config.update(fields)
    return run_data.load(settings.resolve(config), data_dir)

  return loaded


def test_without_corruptions_the_data_are_as_prepared(load, data_dir):
  loaded = load()
  dataset = datasets.load("digits", data_dir)
  for split in ("train", "test"):
    examples = getattr(loaded, split)
    for a, b in zip(examples, dataset.splits[split], strict=True):
      np.testing.assert_array_equal(a, b)
  assert loaded.info == dataset.info
  assert loaded.report == {
    "corruptions": [],
    "label_corruption_probability": 0.0,
    "changed_fraction": 0.0,
    "test_changed_fraction": 0.0,
  }


@pytest.mark.parametrize("field", ["train_split", "test_split"])
def test_an_unknown_split_lists_the_splits(field, load):
  with pytest.raises(errors.ConfigError, match=f"config.{field}") as caught:
    load(**{field: "holdout"})
  assert "'holdout'" in str(caught.value)
  assert "train" in str(caught.value) and "test" in str(caught.value)


def test_splits_may_be_exchanged(load):
  loaded = load(train_split="test", test_split="train")
  assert (len(loaded.train.id), len(loaded.test.id)) == (297, 1500)


def test_images_that_are_too_small_are_refused(load):
  load(image_size=8)
  with pytest.raises(errors.ConfigError, match=r"image_size is 9.*8x8"):
    load(image_size=9)


def test_missing_data_are_named(load):
  with pytest.raises(errors.DataError, match=r"rethink\.prepare mnist99"):
    load(dataset="mnist99")


@pytest.mark.parametrize("balanced", [False, True])
def test_a_subset_is_cut_from_the_training_split_alone(balanced, load):
  loaded = load(train_examples=100, balanced_subset=balanced)
  assert (len(loaded.train.id), len(loaded.test.id)) == (100, 297)
  counts = np.bincount(loaded.train.true_label, minlength=10)
  assert (np.ptp(counts) <= 1) == balanced
  assert loaded.info.splits["train"] == 1500


def test_a_subset_beyond_the_split_is_refused(load):
  with pytest.raises(errors.ConfigError, match="1501"):
    load(train_examples=1501)


def test_a_subset_is_corrupted_like_the_whole(load):
  corruptions = ("random_labels()", "random_pixels()")
  whole = load(corruptions=corruptions).train
  some = load(corruptions=corruptions, train_examples=100).train
  place = {name: i for i, name in enumerate(whole.id)}
  index = np.array([place[name] for name in some.id])
  for a, b in zip(some, whole.take(index), strict=True):
    np.testing.assert_array_equal(a, b)


def test_labels_are_corrupted_and_true_labels_are_not(load):
  clean = load()
  loaded = load(corruptions=("random_labels()",))
  for split in ("train", "test"):
    before, after = getattr(clean, split), getattr(loaded, split)
    np.testing.assert_array_equal(after.true_label, before.label)
    changed = np.mean(after.label != after.true_label)
    assert abs(changed - 0.9) < 3 * math.sqrt(0.09 / len(after.id))


def test_the_changed_fractions_are_counted(load):
  loaded = load(corruptions=("partially_corrupted_labels(0.4)",))
  report = loaded.report
  assert report["label_corruption_probability"] == pytest.approx(0.4)
  assert report["corruptions"] == [
    {"corruption": "partially_corrupted_labels(p=0.4)", "probability": 0.4}
  ]
  for field, examples in (
    ("changed_fraction", loaded.train),
    ("test_changed_fraction", loaded.test),
  ):
    changed = (examples.label != examples.true_label).sum()
    assert report[field] == changed / len(examples.id)
    assert 0.25 < report[field] < 0.45


@pytest.mark.parametrize(
  "probabilities", [(0.2, 0.4), (0.4, 0.2), (0.5, 0.5), (0.3, 1.0)]
)
def test_the_reported_probability_is_that_of_all_corruptions(
  probabilities, load
):
  loaded = load(
    corruptions=tuple(f"partially_corrupted_labels({p})" for p in probabilities)
  )
  p = loaded.report["label_corruption_probability"]
  expected = p * 0.9
  sigma = math.sqrt(expected * (1 - expected) / len(loaded.train.id))
  assert abs(loaded.report["changed_fraction"] - expected) < 3 * sigma


def test_corruptions_act_in_order(load):
  one = load(corruptions=("gaussian()", "shuffled_pixels()"))
  two = load(corruptions=("shuffled_pixels()", "gaussian()"))
  noise = load(corruptions=("gaussian()",))
  assert (one.train.image != two.train.image).any()
  np.testing.assert_array_equal(two.train.image, noise.train.image)
  assert [r["corruption"] for r in one.report["corruptions"]] == [
    "gaussian(per_channel=True)",
    "shuffled_pixels(channels_together=True, after_crop=True)",
  ]


def test_noise_has_the_moments_of_the_clean_whole_training_split(load):
  loaded = load(
    corruptions=("shuffled_pixels()", "gaussian()"),
    train_examples=50,
    image_size=4,
  )
  facts = loaded.report["corruptions"][1]
  np.testing.assert_allclose(facts["requested_mean"], loaded.info.mean, 1e-4)
  np.testing.assert_allclose(facts["requested_std"], loaded.info.std, 1e-4)
  assert loaded.train.image.shape == (50, 4, 4, 1)
  assert loaded.test.image.shape == (297, 4, 4, 1)


def test_data_seed_alone_draws_the_data(load):
  fields = {"corruptions": ("random_labels()",), "train_examples": 200}
  one = load(**fields, seed=0)
  two = load(**fields, seed=1)
  np.testing.assert_array_equal(one.train.id, two.train.id)
  np.testing.assert_array_equal(one.train.label, two.train.label)
  other = load(**fields, data_seed=1)
  assert set(one.train.id) != set(other.train.id)
  assert (one.test.label != other.test.label).any()


@pytest.fixture
def own(tmp_path, monkeypatch):
  """A module of the user's own."""
  (tmp_path / "own_corruption.py").write_text(_OWN)
  monkeypatch.syspath_prepend(tmp_path)


def test_labels_by_images_see_what_corruptions_of_pixels_before_leave(
  load, own, monkeypatch
):
  monkeypatch.setattr(kinds, "_BYTES", 64 * 100)  # 100 images at a time
  faint = "own_corruption:faint(5_000)"
  clean, loaded = load(), load(corruptions=(faint,))
  for split in ("train", "test"):
    before, after = getattr(clean, split), getattr(loaded, split)
    changed = before.image.sum((1, 2, 3)) < 5_000
    assert 0.2 < changed.mean() < 1
    expected = np.where(changed, 0, before.label)
    np.testing.assert_array_equal(after.label, expected)
    np.testing.assert_array_equal(after.true_label, before.label)
  all_faint = load(corruptions=("own_corruption:blank()", faint))
  assert not all_faint.train.label.any()
  later = load(corruptions=(faint, "own_corruption:blank()"))
  np.testing.assert_array_equal(later.train.label, loaded.train.label)
  assert later.report["corruptions"] == [
    {"corruption": "own_corruption:faint(below=5000)"},
    {"corruption": "own_corruption:blank()", "value": 0},
  ]


def test_a_corruption_of_the_old_contract_is_refused(load, own):
  said = r"old is of an older contract.*takes \(ids, labels, context"
  with pytest.raises(errors.ConfigError, match=said):
    load(corruptions=("own_corruption:old()",))


def test_a_split_that_is_trained_and_tested_on_may_be_the_same(load):
  loaded = load(test_split="train", corruptions=("random_labels()",))
  np.testing.assert_array_equal(loaded.train.label, loaded.test.label)


def test_class_counts_of_a_subset_stay_exact(load):
  loaded = load(corruptions=("permuted_labels()",), train_examples=200)
  for examples in (loaded.train, loaded.test):
    counts = np.bincount(examples.true_label, minlength=10)
    np.testing.assert_array_equal(
      np.bincount(examples.label, minlength=10), counts
    )
  assert loaded.report["changed_fraction"] > 0.8
  assert loaded.report["test_changed_fraction"] > 0.8


def test_a_corruption_of_the_users_own(load, own):
  loaded = load(corruptions=("own_corruption:blank()", "random_labels()"))
  assert not loaded.train.image.any() and not loaded.test.image.any()
  assert loaded.report["label_corruption_probability"] == 1.0
  assert loaded.report["corruptions"][0] == {
    "corruption": "own_corruption:blank()",
    "value": 0,
  }


def test_the_report_is_json(load):
  report = load(
    corruptions=("partially_corrupted_labels(0.1)", "gaussian()")
  ).report
  assert json.loads(json.dumps(report, allow_nan=False)) == report
