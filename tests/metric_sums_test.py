import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import errors, metric_names, metric_sums, metrics, specs


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


def _equal(got: metric_sums.Sums, logits, labels, true_labels):
  for sums, target in ((got.label, labels), (got.true_label, true_labels)):
    loss, correct = _oracle(logits, target)
    np.testing.assert_allclose(sums["loss"], loss, rtol=1e-6)
    assert sums["accuracy"] == correct
    assert sums["top5_accuracy"] == _top5(logits, target)
  clean = labels == true_labels
  assert got.clean_correct == _oracle(logits[clean], labels[clean])[1]
  assert got.clean_count == clean.sum()
  assert got.count == len(labels)


def test_sums_are_plain_cross_entropy_and_hits_against_both_truths():
  logits, labels, true_labels = _batch()
  got = metric_sums.sums(logits, labels, true_labels)
  _equal(got, logits, labels, true_labels)
  hits, top5 = got.label["accuracy"], got.label["top5_accuracy"]
  assert hits != got.true_label["accuracy"]
  assert hits < top5 < got.true_label["top5_accuracy"] < got.count


def test_hits_are_counted_in_int32_and_other_metrics_summed_in_float32():
  got = metric_sums.sums(*_batch(), further=_metrics("margin()"))
  for sums in (got.label, got.true_label):
    assert {name: str(x.dtype) for name, x in sums.items()} == {
      "loss": "float32",
      "accuracy": "int32",
      "top5_accuracy": "int32",
      "margin": "float32",
    }
  leaves = jax.tree.leaves(got)
  assert all(x.shape == () for x in leaves)
  assert {str(x.dtype) for x in got[2:]} == {"int32"}


def test_sums_of_training_batches_start_as_they_go_on():
  logits, labels, true_labels = _batch()
  got = metric_sums.of_batch(logits, labels, true_labels)
  whole = metric_sums.sums(logits, labels, true_labels)
  assert got == (
    whole.label["loss"],
    whole.true_label["loss"],
    whole.label["accuracy"],
    13,
  )
  start = metric_sums.no_batches()
  assert jax.tree.map(lambda x: x.dtype, got) == jax.tree.map(
    lambda x: x.dtype, start
  )
  assert metric_sums.add(start, got) == got


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, 1e38])
def test_a_masked_row_counts_for_nothing_whatever_is_in_it(junk):
  logits, labels, true_labels = _batch()
  mask = np.arange(13) % 3 != 0
  spoilt = np.where(mask[:, None], logits, np.float32(junk))
  got = metric_sums.sums(spoilt, labels, true_labels, mask)
  _equal(got, logits[mask], labels[mask], true_labels[mask])


def test_a_row_that_counts_shows_its_nan():
  logits, labels, true_labels = _batch()
  logits[3] = np.nan
  got = metric_sums.sums(logits, labels, true_labels)
  assert np.isnan(got.label["loss"])


def test_huge_logits_do_not_overflow():
  logits = np.float32([[1e4, 0.0], [0.0, 1e4]])
  labels = np.int32([0, 0])
  got = metric_sums.sums(logits, labels, labels)
  assert got.label == {"loss": 1e4, "accuracy": 1}


def test_parts_add_up_to_the_whole():
  logits, labels, true_labels = _batch()
  parts = [
    metric_sums.sums(logits[part], labels[part], true_labels[part])
    for part in (slice(0, 5), slice(5, 6), slice(6, 13))
  ]
  total = functools.reduce(metric_sums.add, parts)
  _equal(total, logits, labels, true_labels)


def test_a_compiled_sum_is_the_same_sum():
  logits, labels, true_labels = _batch()
  got = jax.jit(metric_sums.sums)(
    logits, labels, true_labels, jnp.arange(13) < 7
  )
  _equal(got, logits[:7], labels[:7], true_labels[:7])


def _sums(label, true_label, *counts) -> metric_sums.Sums:
  return metric_sums.Sums(label, true_label, *counts)


def test_training_is_named_after_label_and_testing_after_true_label():
  label = {"loss": 2.0, "accuracy": 2, "top5_accuracy": 3, "margin": -1.0}
  true = {"loss": 8.0, "accuracy": 1, "top5_accuracy": 4, "margin": 6.0}
  split = _sums(label, true, 0, 0, 4)
  assert list(metric_sums.train_means(split).items()) == [
    ("train/loss", 0.5),
    ("train/accuracy", 0.5),
    ("train/true_loss", 2.0),
    ("train/true_accuracy", 0.25),
    ("train/top5_accuracy", 0.75),
    ("train/margin", -0.25),
    ("train/true_margin", 1.5),
  ]
  assert metric_sums.test_means(split) == {
    "test/loss": 2.0,
    "test/accuracy": 0.25,
    "test/top5_accuracy": 1.0,
    "test/corrupted_loss": 0.5,
    "test/corrupted_accuracy": 0.5,
    "test/margin": 1.5,
    "test/corrupted_margin": -0.25,
  }


def test_five_classes_have_no_top_5():
  split = metric_sums.sums(*_batch(classes=5))
  means = metric_sums.train_means(split) | metric_sums.test_means(split)
  partial = {"train/accuracy_on_clean", "train/accuracy_on_corrupted"}
  assert set(means) == set(metric_names.best_of(())) | partial


@pytest.mark.parametrize("classes", [6, 10, 1000])
def test_a_network_that_tells_nothing_apart_is_right_by_chance(classes):
  labels = np.arange(classes, dtype=np.int32)
  got = metric_sums.sums(jnp.ones((classes, classes)), labels, labels)
  want = {"accuracy": 1, "top5_accuracy": 5}
  assert {name: got.label[name] for name in want} == want


def test_partly_corrupted_labels_have_accuracies_of_both_parts():
  sums = {"loss": 2.0, "accuracy": 3}
  means = metric_sums.train_means(_sums(sums, sums, 1, 2, 6))
  assert means["train/accuracy_on_clean"] == 1 / 2
  assert means["train/accuracy_on_corrupted"] == 2 / 4
  true = metric_sums.train_means(_sums(sums, sums, 3, 6, 6))
  assert "train/accuracy_on_clean" not in true


def _metrics(*texts: str) -> tuple[metric_names.Metric, ...]:

  return metric_names.resolve(
    specs.of_module(text, metrics, "metrics") for text in texts
  )


def _norm(logits, labels, scale: float):
  """A user's metric: the norm of the logits, whatever the label."""
  del labels
  return scale * jnp.sqrt(jnp.sum(jnp.square(logits), axis=-1))


def test_a_metric_of_the_users_own_is_summed_over_what_the_mask_leaves():
  logits, labels, true_labels = _batch()
  mask = np.arange(13) < 7
  logits[9] = np.nan
  further = _metrics(f"{__name__}:_norm(scale=2.0)", "top_k_accuracy(2)")
  got = metric_sums.sums(logits, labels, true_labels, mask, further)
  norm = 2 * np.linalg.norm(np.float64(logits[:7]), axis=-1).sum()
  order = np.argsort(-logits[:7], axis=-1, kind="stable")[:, :2]
  for sums, target in ((got.label, labels), (got.true_label, true_labels)):
    np.testing.assert_allclose(sums["_norm_scale_2.0"], norm, rtol=1e-6)
    hits = (order == target[:7, None]).any(-1).sum()
    assert sums["top_k_accuracy_k_2"] == hits


def _scalar(logits, labels):
  return jnp.mean(logits[:, 0] + labels)


def _per_class(logits, labels):
  del labels
  return logits.mean(0)


def _number(logits, labels):
  del logits, labels
  return 0.5


def _whole(logits, labels):
  del logits
  return labels


@pytest.mark.parametrize(
  ("function", "returned"),
  [
    (_scalar, r"float32\[\]"),
    (_per_class, r"float32\[4\]"),
    (_number, "float"),
    (_whole, r"int32\[5\]"),
  ],
)
def test_what_is_no_number_for_each_example_is_refused(function, returned):
  metric = _metrics(f"{__name__}:{function.__name__}()")
  said = (
    rf"config.metrics: {__name__}:{function.__name__}\(\) returns {returned}"
    " for 5 examples"
  )
  with pytest.raises(errors.ConfigError, match=said):
    metric_sums.check(metric, 4)


def test_every_metric_of_the_package_passes_the_check():
  names = [name for name in specs.public(metrics) if name != "top_k_accuracy"]
  further = sorted(set(names) - set(metric_names.BUILT_IN))
  metric_sums.check(_metrics(*further, "top_k_accuracy(k=3)"), 4)
  with pytest.raises(errors.ConfigError, match="from 1 to the number of class"):
    metric_sums.check(_metrics("top_k_accuracy(k=5)"), 4)
