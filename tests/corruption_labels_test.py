"""Corruptions of labels: uniform, permuted, by class."""

import math

import numpy as np
import pytest

from rethink import bits, errors, example
from rethink.corrupting import transitions
from tests import conftest
from tests import corruption_cases as cases


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_fraction_p_of_1_minus_1_over_k_changes(p, classes):
  examples = cases.labelled(20_000, classes)
  corrupted, report = cases.apply(
    f"partially_corrupted_labels({p})", examples, cases.context(classes=classes)
  )
  expected = p * (1 - 1 / classes)
  sigma = math.sqrt(expected * (1 - expected) / len(examples.id))
  changed = np.mean(corrupted.label != examples.label)
  assert abs(changed - expected) <= 3 * sigma
  assert report["probability"] == p
  assert 0 <= corrupted.label.min() and corrupted.label.max() < classes


def test_what_is_corrupted_stays_corrupted_alike_as_p_grows():
  examples, context = cases.labelled(5_000, 10), cases.context()
  before = examples.label
  for p in (0.1, 0.2, 0.5, 0.8, 1.0):
    after = cases.apply(f"partially_corrupted_labels({p})", examples, context)[
      0
    ].label
    was_changed = before != examples.label
    np.testing.assert_array_equal(after[was_changed], before[was_changed])
    assert np.mean(after != examples.label) > np.mean(was_changed)
    before = after
  random = cases.apply("random_labels()", examples, context)[0].label
  np.testing.assert_array_equal(random, before)


def _chi2(values, classes):
  counts = np.bincount(values, minlength=classes)
  expected = len(values) / classes
  return ((counts - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_random_labels_are_uniform(classes):
  examples = cases.labelled(20_000, classes)
  corrupted, _ = cases.apply(
    "random_labels()", examples, cases.context(classes=classes)
  )
  assert _chi2(corrupted.label, classes) < cases.chi2_bound(classes - 1)


def test_the_new_class_does_not_depend_on_the_old_one():
  examples = cases.labelled(20_000, 10)
  corrupted, _ = cases.apply(
    "partially_corrupted_labels(0.5)", examples, cases.context()
  )
  step = (corrupted.label - examples.label) % 10
  assert _chi2(step[step > 0] - 1, 9) < cases.chi2_bound(8)
  pairs = examples.label[step > 0] * 9 + step[step > 0] - 1
  assert _chi2(pairs, 90) < cases.chi2_bound(89)


@pytest.mark.parametrize("p", [-0.1, 1.1, 30])
def test_what_is_no_probability_is_refused(p):
  with pytest.raises(errors.ConfigError, match="p must lie in"):
    cases.apply(
      f"partially_corrupted_labels({p})", cases.labelled(5, 10), cases.context()
    )


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_permuted_labels_keep_class_counts(p):
  examples = conftest.random_examples(3000)
  corrupted, report = cases.apply(
    f"permuted_labels({p})", examples, cases.context()
  )
  counts = np.bincount(examples.label, minlength=10)
  np.testing.assert_array_equal(
    np.bincount(corrupted.label, minlength=10), counts
  )
  changed = np.mean(corrupted.label != examples.label)
  expected = p * (1 - ((counts / 3000) ** 2).sum())
  assert abs(changed - expected) <= 4 * math.sqrt(0.25 / 3000) * (p > 0)
  assert report == {"probability": p}


def test_a_label_may_come_from_any_example():
  label = np.arange(20, dtype=np.int32)
  ids = np.arange(100, 120, dtype=np.uint64)
  image = np.zeros((20, 1, 1, 1), np.uint8)
  examples = example.Example(ids, image, label, label)
  counts = np.zeros(20, int)
  for data_seed in range(400):
    context = cases.context(data_seed, classes=20)
    after = cases.apply("permuted_labels()", examples, context)[0].label
    assert sorted(after) == list(range(20))
    counts[after[7]] += 1
  assert ((counts - 20) ** 2 / 20).sum() < cases.chi2_bound(19)


def test_permuted_labels_are_those_that_corruptions_before_left():
  examples, context = conftest.random_examples(500), cases.context()
  before, _ = cases.apply("class_dependent_labels({3: 5})", examples, context)
  after, _ = cases.apply("permuted_labels()", before, context)
  assert not (after.label == 3).any()
  assert (after.label == 5).sum() == np.isin(examples.label, (3, 5)).sum()


_MATRIX = (
  (0.7, 0.3, 0.0, 0.0),
  (0.0, 1.0, 0.0, 0.0),
  (0.1, 0.2, 0.3, 0.4),
  (0.0, 0.5, 0.5, 0.0),
)


@pytest.mark.parametrize("p", [0.6, 1.0])
def test_a_matrix_gives_its_confusion_matrix(p):
  examples = cases.labelled(20_000, 4)
  text = f"class_dependent_labels({_MATRIX}, {p})"
  corrupted, report = cases.apply(text, examples, cases.context(classes=4))
  assert report == {"probability": p}
  expected = (1 - p) * np.eye(4) + p * np.array(_MATRIX)
  for old in range(4):
    new = corrupted.label[examples.label == old]
    found = np.bincount(new, minlength=4) / len(new)
    sigma = np.sqrt(expected[old] * (1 - expected[old]) / len(new))
    assert (np.abs(found - expected[old]) <= 4 * sigma).all()


def test_class_dependent_labels_are_those_of_a_loop():
  examples, p = conftest.random_examples(300, classes=4), 0.6
  text = f"class_dependent_labels({_MATRIX}, {p})"
  corrupted, _ = cases.apply(text, examples, cases.context(5, classes=4))

  def uniform(tag):
    return bits.uniform(bits.bits(5, f"class_dependent/{tag}", examples.id))

  for coin, draw, old, new in zip(
    uniform("coin"),
    uniform("class"),
    examples.label,
    corrupted.label,
    strict=True,
  ):
    if coin >= p:
      assert new == old
    else:
      below = sum(_MATRIX[old][:new])
      assert below <= draw < below + _MATRIX[old][new]


@pytest.mark.parametrize("pairs", ["{3: 5, 5: 3}", "((5, 3), (3, 5))"])
def test_pairs_change_their_classes_alone(pairs):
  examples = conftest.random_examples(4000)
  text = f"class_dependent_labels({pairs}, 0.4)"
  corrupted, _ = cases.apply(text, examples, cases.context())
  changed = corrupted.label != examples.label
  assert not changed[~np.isin(examples.label, (3, 5))].any()
  for old, new in ((3, 5), (5, 3)):
    of_class = examples.label == old
    assert (corrupted.label[of_class & changed] == new).all()
    sigma = math.sqrt(0.24 / of_class.sum())
    assert abs(changed[of_class].mean() - 0.4) < 4 * sigma


def test_class_dependent_labels_are_nested_in_p():
  examples, context = cases.labelled(5_000, 4), cases.context(classes=4)
  before = examples.label
  for p in (0.2, 0.6, 1.0):
    text = f"class_dependent_labels({_MATRIX}, {p})"
    after = cases.apply(text, examples, context)[0].label
    was_changed = before != examples.label
    np.testing.assert_array_equal(after[was_changed], before[was_changed])
    before = after


@pytest.mark.parametrize(
  ("to", "said"),
  [
    ((), "a matrix has 4 rows, one for each class, not 0"),
    (_MATRIX[:3], "a matrix has 4 rows, one for each class, not 3"),
    ((*_MATRIX[:3], (0.5, 0.5)), "row 3 is .* 4 probabilities"),
    ((*_MATRIX[:3], (0.5, 0.6, 0.0, 0.0)), "row 3 is .* with the sum 1"),
    ((*_MATRIX[:3], (1.5, -0.5, 0.0, 0.0)), "row 3 is"),
    ((*_MATRIX[:3], ("a", 0.5, 0.5, 0.0)), "row 3 is"),
    ((1.0, 0.0), "1.0 is no row of a matrix and no pair"),
    (((3, 5),), r"\(3, 5\) is no pair of classes from 0 to 3"),
    (((-1, 2),), r"\(-1, 2\) is no pair"),
    (((1, 0, 0, 0),) * 4, "written as floats"),
    (((1, 2), (1, 3)), "class 1 stands in front of two pairs"),
  ],
)
def test_what_is_no_matrix_and_no_pairs_is_refused(to, said):
  with pytest.raises(errors.ConfigError, match=said):
    transitions.rows(to, 4)
