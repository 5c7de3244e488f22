"""Parts of splits: disjoint, complete, the same on both pipelines."""

import numpy as np
import pytest

from rethink import errors, settings
from rethink.pipeline import datasets, run_data, splits, stream_data

_CUTS = ("0%", "1%", "12.5%", "33%", "50%", "80%", "100%", "-20%")


def _rows(text, n):
  return splits.parse(text, "train_split").rows(n, "train_split")


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 99, 1797, 50_000])
def test_parts_that_meet_are_disjoint_and_complete(n):
  for cut in (*_CUTS, "1", f"{n}", f"-{n}"):
    found = []
    for text in (f"train[:{cut}]", f"train[{cut}:]"):
      try:
        found.append(_rows(text, n))
      except errors.ConfigError as error:
        assert "has no examples" in str(error)
    np.testing.assert_array_equal(np.concatenate(found), np.arange(n))


@pytest.mark.parametrize(
  ("text", "rows"),
  [
    ("train", range(200)),
    ("train[:]", range(200)),
    ("train[: 80%]", range(160)),
    ("train[50%:-20%]", range(100, 160)),
    ("train[1_0:20]", range(10, 20)),
    ("train[-5:]", range(195, 200)),
    ("train[:0.25%]", range(1)),  # half an example is rounded up
  ],
)
def test_a_part_is_what_tfds_means_by_it(text, rows):
  np.testing.assert_array_equal(_rows(text, 200), rows)


@pytest.mark.parametrize(
  "text",
  [
    *("train+test", "train[:80%][:10%]", "train[10%]", "train[::2]", ""),
    *("train[:a]", "train[0:1shard]", "train(:5)", "[:5]", "train[:5", "a/b"),
  ],
)
def test_what_is_no_part_is_refused_with_what_is(text):
  with pytest.raises(errors.ConfigError, match=r"config.test_split=.*\[80%:\]"):
    splits.parse(text, "test_split")


@pytest.mark.parametrize(
  ("part", "said"),
  [
    ("[:201]", "beyond"),
    ("[:101%]", "beyond"),
    ("[-201:]", "beyond"),
    ("[5:5]", "begins at 5 and ends at 5 of 200"),
    ("[60%:40%]", "no examples"),
  ],
)
def test_a_part_beyond_the_split_or_empty_is_refused(part, said):
  with pytest.raises(errors.ConfigError, match=said):
    _rows(f"train{part}", 200)


@pytest.fixture
def ids(config, data_dir):
  """ids(pipeline, train_split, test_split): (train ids, test ids, overlap)."""

  def found(pipeline, train, test):
    config.train_examples = 0
    config.update(
      dict(pipeline=pipeline, framing="crop", train_split=train)
      | dict(test_split=test, corruptions=("permuted_labels(0.5)",))
    )
    known = settings.resolve(config)
    if pipeline == "stream":
      data = stream_data.open_data(known, data_dir).known
    else:
      data = run_data.load(known, data_dir)
    for part in (data.train, data.test):  # each label by its own image's id
      np.testing.assert_array_equal(part.id, np.sort(part.id))
    return data.train, data.test, data.overlap

  return found


def test_a_held_out_part_covers_the_split_with_the_rest(ids, data_dir):
  train, test, overlap = ids("resident", "train[:80%]", "train[80%:]")
  assert (len(train.id), len(test.id), overlap) == (1200, 300, 0)
  whole = datasets.load("digits", data_dir).splits["train"]
  both = np.concatenate([train.id, test.id])
  np.testing.assert_array_equal(np.sort(both), whole.id)
  # A random choice, whatever the order of the records: all classes are there.
  assert np.bincount(test.true_label).min() > 10


@pytest.mark.parametrize(
  ("train", "test", "overlap"),
  [
    ("train[:80%]", "train[80%:]", 0),
    ("train[:80%]", "train[70%:]", 150),
    ("train", "train", 1500),
    ("test", "test[:10]", 10),
    ("train", "test", 0),
  ],
)
def test_both_pipelines_take_the_same_parts_and_count_their_overlap(
  train, test, overlap, ids
):
  here, there = (ids(p, train, test) for p in ("resident", "stream"))
  for one, other in zip(here[:2], there[:2], strict=True):
    for field in ("id", "label", "true_label"):
      np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
  assert here[2] == there[2] == overlap


def test_a_part_of_no_split_lists_the_splits(ids):
  for pipeline in ("resident", "stream"):
    with pytest.raises(
      errors.ConfigError, match=r"'dev'.*(train, te|test, tr)"
    ):
      ids(pipeline, "dev[:5]", "test")
