import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import metrics


def _batch(n=13, classes=8):
  rng = np.random.default_rng(0)
  logits = np.float32(3 * rng.normal(size=(n, classes)))
  labels = rng.integers(0, classes, n).astype(np.int32)
  true_labels = logits.argmax(-1).astype(np.int32)
  true_labels[::4] = labels[::4]
  return logits, labels, true_labels


def _oracle(logits, labels):
  """(sum of cross-entropy, hits) in float64."""
  logits = np.asarray(logits, np.float64)
  top = logits.max(-1)
  norm = top + np.log(np.exp(logits - top[:, None]).sum(-1))
  rows = np.arange(len(labels))
  loss = norm - logits[rows, labels]
  return loss.sum(), int((logits.argmax(-1) == labels).sum())


def _top5(logits, labels) -> int:
  """Hits of the five likeliest; of equal logits, the first classes."""
  likeliest = np.argsort(-logits, axis=-1, kind="stable")[:, :5]
  return int((likeliest == labels[:, None]).any(-1).sum())


def _equal(got: metrics.Sums, logits, labels, true_labels):
  loss, correct = _oracle(logits, labels)
  true_loss, true_correct = _oracle(logits, true_labels)
  np.testing.assert_allclose(got.loss, loss, rtol=1e-6)
  np.testing.assert_allclose(got.true_loss, true_loss, rtol=1e-6)
  assert (got.correct, got.true_correct) == (correct, true_correct)
  assert got.top5 == _top5(logits, labels)
  assert got.true_top5 == _top5(logits, true_labels)
  clean = labels == true_labels
  assert got.clean_correct == _oracle(logits[clean], labels[clean])[1]
  assert got.clean_count == clean.sum()
  assert got.count == len(labels)


def test_sums_are_plain_cross_entropy_and_hits_against_both_truths():
  logits, labels, true_labels = _batch()
  got = metrics.sums(logits, labels, true_labels)
  _equal(got, logits, labels, true_labels)
  assert got.correct != got.true_correct
  assert got.correct < got.top5 < got.true_top5 < got.count


def test_types_are_those_of_the_zeros():
  logits, labels, true_labels = _batch()
  for got in (metrics.sums(logits, labels, true_labels), metrics.zeros()):
    kinds = [np.dtype(value.dtype).kind for value in got]
    assert kinds == ["f", "i", "i", "f", "i", "i", "i", "i", "i"]
    assert all(np.shape(value) == () for value in got)


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, 1e38])
def test_a_masked_row_counts_for_nothing_whatever_is_in_it(junk):
  logits, labels, true_labels = _batch()
  mask = np.arange(13) % 3 != 0
  spoilt = np.where(mask[:, None], logits, np.float32(junk))
  got = metrics.sums(spoilt, labels, true_labels, mask)
  _equal(got, logits[mask], labels[mask], true_labels[mask])


def test_a_row_that_counts_shows_its_nan():
  logits, labels, true_labels = _batch()
  logits[3] = np.nan
  assert np.isnan(metrics.sums(logits, labels, true_labels).loss)


def test_huge_logits_do_not_overflow():
  logits = np.float32([[1e4, 0.0], [0.0, 1e4]])
  labels = np.int32([0, 0])
  got = metrics.sums(logits, labels, labels)
  assert (got.loss, got.correct) == (1e4, 1)


def test_parts_add_up_to_the_whole():
  logits, labels, true_labels = _batch()
  total = metrics.zeros()
  for part in (slice(0, 5), slice(5, 6), slice(6, 13)):
    total += metrics.sums(logits[part], labels[part], true_labels[part])
  _equal(total, logits, labels, true_labels)


def test_a_compiled_sum_is_the_same_sum():
  logits, labels, true_labels = _batch()
  got = jax.jit(metrics.sums)(logits, labels, true_labels, jnp.arange(13) < 7)
  _equal(got, logits[:7], labels[:7], true_labels[:7])


def test_training_is_named_after_label_and_testing_after_true_label():
  split = metrics.Sums(2.0, 2, 3, 8.0, 1, 4, 0, 0, 4)  # pyright: ignore
  assert metrics.train_means(split, 6) == {
    "train/loss": 0.5,
    "train/accuracy": 0.5,
    "train/top5_accuracy": 0.75,
    "train/true_loss": 2.0,
    "train/true_accuracy": 0.25,
  }
  assert metrics.test_means(split, 6) == {
    "test/loss": 2.0,
    "test/accuracy": 0.25,
    "test/top5_accuracy": 1.0,
    "test/corrupted_loss": 0.5,
    "test/corrupted_accuracy": 0.5,
  }


def test_five_classes_have_no_top_5():
  split = metrics.Sums(2.0, 2, 4, 8.0, 1, 4, 0, 0, 4)  # pyright: ignore
  means = metrics.train_means(split, 5) | metrics.test_means(split, 5)
  assert set(means) == set(metrics.NAMES)


@pytest.mark.parametrize("classes", [6, 10, 1000])
def test_a_network_that_tells_nothing_apart_is_right_by_chance(classes):
  labels = np.arange(classes, dtype=np.int32)
  got = metrics.sums(jnp.ones((classes, classes)), labels, labels)
  assert (got.correct, got.top5) == (1, 5)


def test_partly_corrupted_labels_have_accuracies_of_both_parts():
  split = metrics.Sums(2.0, 3, 0, 8.0, 1, 0, 1, 2, 6)  # pyright: ignore
  means = metrics.train_means(split, 5)
  assert means["train/accuracy_on_clean"] == 1 / 2
  assert means["train/accuracy_on_corrupted"] == 2 / 4
  split = metrics.Sums(2.0, 3, 0, 8.0, 1, 0, 3, 6, 6)  # pyright: ignore
  true = metrics.train_means(split, 5)
  assert "train/accuracy_on_clean" not in true
