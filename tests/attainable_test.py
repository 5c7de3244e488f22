"""Bounds that equal images with different labels set, beside brute force."""

import collections
import itertools
import math

import numpy as np
import pytest

from rethink import example
from rethink.methods import limits
from rethink.pipeline import attainable
from rethink.report import comparability
from rethink.storage import bounds, runs
from tests.conftest import random_examples


def _brute_force(images, labels):
  """(accuracy, loss, conflicts) by looking at each pair of examples."""
  groups = collections.defaultdict(list)
  for image, label in zip(images, labels, strict=True):
    groups[image.tobytes()].append(int(label))
  hits = loss = conflicts = 0
  for found in groups.values():
    counts = collections.Counter(found)
    hits += max(counts.values())
    loss -= sum(c * math.log(c / len(found)) for c in counts.values())
    conflicts += len(found) * (len(counts) > 1)
  return hits / len(labels), loss / len(labels), conflicts


def _examples(images, labels, start=0):
  labels = np.asarray(labels, np.int32)
  ids = np.arange(start, start + len(labels), dtype=np.uint64)
  return example.Example(ids, images, labels, labels.copy())


@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_those_of_brute_force(seed):
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 2, (300, 2, 2, seed % 2 + 1)).astype(np.uint8)
  labels = rng.integers(0, 1 + 3 * seed, 300)
  found = attainable.bounds(attainable.digests(images, 2), labels)
  accuracy, loss, conflicts = _brute_force(images, labels)
  assert found.accuracy == accuracy and found.conflicts == conflicts
  assert found.loss == pytest.approx(loss, abs=1e-12)


def test_no_classifier_of_two_images_surpasses_the_ceiling():
  labels = np.array([0, 0, 1, 2, 2, 1, 1])
  images = np.array([0, 0, 0, 0, 1, 1, 1])
  found = attainable.bounds(images, labels)
  every = itertools.product(range(3), repeat=2)
  best = max(np.mean(np.array(answer)[images] == labels) for answer in every)
  assert found.accuracy == best


def test_four_copies_of_a_hundred_images_with_random_labels():
  """The case that a run reported as "not fitted" at its ceiling of 52.25 %."""
  copies = {  # labels of the four copies: images that have such
    (0, 1, 2, 3): 2,
    (0, 0, 1, 2): 71,
    (0, 0, 1, 1): 18,
    (0, 0, 0, 1): 7,
    (0, 0, 0, 0): 2,
  }
  groups = [labels for labels, n in copies.items() for _ in range(n)]
  images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1), np.uint8)
  train = _examples(np.repeat(images, 4, axis=0), np.concatenate(groups))
  found = attainable.facts(train, random_examples(5, (8, 8, 1)), 8)
  assert found["train_accuracy_ceiling"] == 0.5225
  assert found["train_loss_floor"] == pytest.approx(0.930, abs=1e-4)
  assert found["train_duplicates"] == 300
  assert found["train_conflicts"] == 392
  assert found["test_duplicates"] == 0


def test_distinct_images_permit_everything_exactly():
  train, test = random_examples(100), random_examples(100)
  found = attainable.facts(train, test._replace(image=~test.image), 8)
  assert found["train_accuracy_ceiling"] == 1.0
  assert found["train_loss_floor"] == 0.0
  assert found["train_duplicates"] == found["test_duplicates"] == 0


def test_images_are_compared_as_the_model_sees_them():
  """Two images that differ at the border alone are one after the crop."""
  images = np.zeros((2, 4, 4, 1), np.uint8)
  images[1, 0, 0] = 255
  train = _examples(images, [0, 1])
  for size, ceiling in ((4, 1.0), (2, 0.5)):
    found = attainable.facts(train, train, size)
    assert found["train_accuracy_ceiling"] == ceiling
    assert found["test_duplicates"] == 2


def test_the_bounds_are_of_the_examples_that_clean_passes_go_over():
  train = _examples(np.zeros((4, 2, 2, 1), np.uint8), [0, 1, 1, 1])
  for rows, ceiling in ((None, 0.75), ([0], 1.0), ([0, 1], 0.5)):
    evaluated = None if rows is None else np.array(rows)
    found = attainable.facts(train, train, 2, evaluated)
    assert found["train_accuracy_ceiling"] == ceiling


def test_answers_that_do_not_look_are_those_of_brute_force():
  rng = np.random.default_rng(1)
  label, true_label = rng.integers(0, 4, 50), rng.integers(1, 7, 30)
  found = attainable.of_labels(label, true_label)
  pairs = [(a, b) for a in label for b in true_label]
  assert found["chance"] == pytest.approx(np.mean([a == b for a, b in pairs]))
  assert found["train_majority"] == max(np.mean(label == k) for k in label)
  assert found["test_majority"] == max(
    np.mean(true_label == k) for k in true_label
  )


def _record(losses, **facts):
  rows = [{"epoch": i + 1, "train/loss": x} for i, x in enumerate(losses)]
  status = {"attainable": facts} if facts else {}
  return runs.Record(runs.pathlib.Path("run"), {}, status, rows)


def test_a_fit_is_judged_above_the_floor():
  losses = (2.0, 0.97, 0.94)
  for floor, epoch in ((0.93, 2), (0.9, 3), (0.5, None), (None, None)):
    record = _record(losses, train_loss_floor=floor)
    assert bounds.epochs_to_fit(record, 0.05) == epoch
  assert bounds.epochs_to_fit(_record((0.06, 0.05)), 0.05) == 2


def test_an_older_run_counts_as_if_everything_could_be_attained():
  record = _record((1.0,))
  assert bounds.of(record).loss_floor == 0.0
  assert bounds.of(record).ceiling == 1.0
  assert bounds.of(record).constant_since is None
  assert bounds.of(record).test_overlap == 0


def test_what_limits_the_numbers_is_said(capsys):
  facts = {
    **dict(train_duplicates=300, train_conflicts=388, test_duplicates=7),
    **dict(train_accuracy_ceiling=0.5225, train_loss_floor=0.93),
  }
  status = {
    "data": {"train": 400, "test": 50},
    "test_overlap": 3,
    "attainable": facts,
  }
  limits.warn("run", status)
  first, second, third = capsys.readouterr().err.splitlines()
  assert "3 of 50 test examples are training examples" in first
  assert "300 of 400 training images equal another one" in second
  assert "52.25%" in second and "0.930" in second
  assert "4 of 50 test images equal a training image" in third
  nothing = dict.fromkeys(facts, 0)
  for unknown in (nothing, {**nothing, **attainable.UNKNOWN}):
    limits.warn("run", {**status, "test_overlap": 0, "attainable": unknown})
  assert capsys.readouterr().err == ""


def test_a_report_marks_test_examples_that_were_trained_on():
  record = _record((1.0,))
  for overlap in (0, 2, 1500):
    facts = {"train_majority": 0.1}
    data = {"train": 9, "test": 1600}
    status = {"test_overlap": overlap, "data": data, "attainable": facts}
    found = comparability.data_remarks(record._replace(status=status))
    said = f"{overlap:,} of 1,600 test examples are training examples"
    assert found == ([said] if overlap else [])
