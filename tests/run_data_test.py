import json
import math

import numpy as np
import pytest

from rethink import errors, settings
from rethink.pipeline import datasets, run_data

_OWN = '''
import numpy as np

def blank(examples, context):
  """A corruption that knows nothing of probabilities."""
  return examples._replace(image=np.zeros_like(examples.image)), {"value": 0}
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


def test_a_corruption_of_the_users_own(load, tmp_path, monkeypatch):
  (tmp_path / "own_corruption.py").write_text(_OWN)
  monkeypatch.syspath_prepend(tmp_path)
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
