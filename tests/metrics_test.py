"""Metrics of single examples, against NumPy in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from rethink import metrics, specs


def _batch(n=40, classes=7):
  rng = np.random.default_rng(1)
  logits = np.float32(3 * rng.normal(size=(n, classes)))
  return logits, rng.integers(0, classes, n).astype(np.int32)


def _probabilities(logits):
  shifted = np.exp(np.float64(logits) - logits.max(-1, keepdims=True))
  return shifted / shifted.sum(-1, keepdims=True)


def _own(values, labels):
  return values[np.arange(len(labels)), labels]


def _margin(logits, labels):
  others = np.float64(logits)
  others[np.arange(len(labels)), labels] = -np.inf
  return _own(np.float64(logits), labels) - others.max(-1)


def _brier(logits, labels):
  distance = _probabilities(logits) - np.eye(logits.shape[-1])[labels]
  return np.square(distance).sum(-1)


_ORACLES = {
  "loss": lambda z, y: -np.log(_own(_probabilities(z), y)),
  "accuracy": lambda z, y: z.argmax(-1) == y,
  "margin": _margin,
  "brier": _brier,
  "confidence": lambda z, y: _probabilities(z).max(-1),
}


@pytest.mark.parametrize("name", _ORACLES)
def test_a_metric_is_what_numpy_says_of_each_example(name):
  logits, labels = _batch()
  want = _ORACLES[name](logits, labels)
  got = specs.public(metrics)[name](logits, labels)
  assert got.dtype == (bool if want.dtype == bool else np.float32)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_every_metric_has_an_oracle():
  assert set(specs.public(metrics)) == {*_ORACLES, "top_k_accuracy"}


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_k_likeliest_are_the_first_of_a_stable_sort(k):
  logits, labels = _batch()
  logits = np.round(logits)  # ties
  likeliest = np.argsort(-logits, axis=-1, kind="stable")[:, :k]
  want = (likeliest == labels[:, None]).any(-1)
  got = metrics.top_k_accuracy(jnp.asarray(logits), labels, k)
  np.testing.assert_array_equal(got, want)
  assert 0 < want.sum() and (k == 7) == want.all()


def test_a_positive_margin_is_a_hit():
  logits, labels = _batch()
  margins = metrics.margin(logits, labels)
  hits = metrics.accuracy(jnp.asarray(logits), labels)
  np.testing.assert_array_equal(margins > 0, hits)


def test_certain_logits_overflow_nothing():
  logits, labels = np.float32([[1e4, 0.0], [0.0, 1e4]]), np.int32([0, 0])
  np.testing.assert_array_equal(metrics.margin(logits, labels), [1e4, -1e4])
  np.testing.assert_array_equal(metrics.brier(logits, labels), [0, 2])
  np.testing.assert_array_equal(metrics.confidence(logits, labels), [1, 1])
