"""Labels that change as their image says."""

import math

import numpy as np
import pytest
import scipy.stats

from rethink import bits, errors, example
from rethink.corrupting import instance_noise
from tests import conftest
from tests import corruption_cases as cases


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.95])
def test_flip_rates_are_of_a_truncated_normal_distribution(p):
  ids = np.arange(20_000, dtype=np.uint64)
  rates = instance_noise.rates(3, ids, p)
  expected = scipy.stats.truncnorm(-p / 0.1, (1 - p) / 0.1, loc=p, scale=0.1)
  assert scipy.stats.kstest(rates, expected.cdf).pvalue > 1e-3
  assert 0 <= rates.min() and rates.max() <= 1
  assert (rates <= instance_noise.rates(3, ids, min(1.0, p + 0.01))).all()


def test_directions_are_normal():
  drawn = instance_noise.directions(0, 3, 64, 3, 100).ravel() / 32
  assert abs(drawn.mean()) < 4 / math.sqrt(drawn.size)
  assert abs(drawn.std() - 1) < 4 / math.sqrt(2 * drawn.size)
  other = instance_noise.directions(0, 4, 64, 3, 100).ravel() / 32
  assert abs(np.corrcoef(drawn, other)[0, 1]) < 4 / math.sqrt(drawn.size)


def _by_loops(examples, context, p):
  """Xia et al. (2020), one example and one class after the other."""
  seed, info = context.data_seed, context.info
  classes, mean, std = info.num_classes, np.array(info.mean), np.array(info.std)
  uniform = [
    bits.uniform(bits.bits(seed, f"instance/{tag}", examples.id)[:, 0])
    for tag in ("rate", "coin", "class")
  ]
  truncated = scipy.stats.truncnorm(-p / 0.1, (1 - p) / 0.1, loc=p, scale=0.1)
  labels = []
  for i, (image, y) in enumerate(
    zip(examples.image, examples.label, strict=True)
  ):
    x = ((image - mean) / std).reshape(-1)
    w = instance_noise.directions(
      seed, int(y), image[..., 0].size, len(mean), classes
    )
    a = [x @ (w[:, :, j].reshape(-1) / 32) for j in range(classes)]
    a[y] = -math.inf
    softmax = np.exp(np.array(a) - max(a)) / np.exp(np.array(a) - max(a)).sum()
    q = truncated.ppf(uniform[0][i])
    new = y
    if uniform[1][i] < q:
      new = int((np.cumsum(softmax) <= uniform[2][i]).sum())
    labels.append(new)
  return np.array(labels)


@pytest.mark.parametrize("shape", [(4, 4, 3), (5, 2, 1)])
def test_instance_dependent_labels_are_those_of_loops(shape):
  examples = conftest.random_examples(300, shape=shape, classes=6)
  context = cases.context(11, classes=6, shape=shape)
  corrupted, report = cases.apply(
    "instance_dependent_labels(0.6)", examples, context
  )
  np.testing.assert_array_equal(
    corrupted.label, _by_loops(examples, context, 0.6)
  )
  assert report == {"probability": 0.6}


def test_labels_of_an_image_change_as_its_softmax_says():
  n, p, shape = 20_000, 0.4, (1, 2, 1)
  ids = np.arange(n, dtype=np.uint64)
  image = np.broadcast_to(np.uint8([150, 90]).reshape(shape), (n, *shape))
  label = np.full(n, 2, np.int32)
  context = cases.context(1, classes=4, shape=shape)
  examples = example.Example(ids, image, label, label)
  after = cases.apply(f"instance_dependent_labels({p})", examples, context)[
    0
  ].label
  x = (np.array([150.0, 90.0]) - context.info.mean[0]) / context.info.std[0]
  a = x @ (instance_noise.directions(1, 2, 2, 1, 4)[:, 0] / 32)
  weights = np.exp(np.delete(a, 2))
  expected = np.insert(p * weights / weights.sum(), 2, 1 - p)
  found = np.bincount(after, minlength=4) / n
  sigma = np.sqrt(expected * (1 - expected) / n)
  assert (np.abs(found - expected) < 4 * sigma).all()


def test_instance_dependent_labels_are_nested_in_p():
  examples, context = conftest.random_examples(2000), cases.context()
  before = examples.label
  for p in (0.1, 0.4, 0.9):
    text = f"instance_dependent_labels({p})"
    after = cases.apply(text, examples, context)[0].label
    was_changed = before != examples.label
    np.testing.assert_array_equal(after[was_changed], before[was_changed])
    assert abs(np.mean(after != examples.label) - p) < 0.05
    before = after


def test_a_channel_that_never_varies_says_nothing():
  examples, context = conftest.random_examples(50), cases.context()
  info = context.info._replace(std=(60.0, 0.0, 40.0))
  other = examples.image.copy()
  other[..., 1] = 0
  found = [
    cases.apply(
      "instance_dependent_labels(1)", some, context._replace(info=info)
    )[0]
    for some in (examples, examples._replace(image=other))
  ]
  np.testing.assert_array_equal(found[0].label, found[1].label)


def test_too_many_directions_are_refused():
  context = cases.context(classes=1000, shape=(64, 64, 3))
  examples = conftest.random_examples(2, shape=(64, 64, 3))
  with pytest.raises(errors.ConfigError, match="12,288,000,000 numbers"):
    cases.apply("instance_dependent_labels(1)", examples, context)
