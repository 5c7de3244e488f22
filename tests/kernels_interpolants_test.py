"""Other functions that fit the same labels, on images of noise."""

import numpy as np
import pytest

from rethink import errors
from rethink.kernels import fitting, interpolants
from tests import conftest, kernels_oracle


def _problem(n=40, m=10, **fields):
  examples = conftest.random_examples(n + m, (6, 6, 1), classes=3)
  images, labels = examples.image, examples.label
  return fitting.Problem(
    images[:n],
    labels[:n],
    images[n:],
    labels[n:],
    3,
    **{"kernel": "gaussian(bandwidth=2.0)", **fields},
  )


def _pixels(images):
  return images.reshape(len(images), -1) / 255


@pytest.mark.parametrize(
  ("name", "fields"),
  [
    ("min_norm", {}),
    ("wrong_on_test", {}),
    ("random_centres", {}),
    ("sgd", dict(kernel="linear()", steps=("random_convolution(20, 3)",))),
  ],
)
def test_all_of_them_fit_the_labels_and_say_how_well(name, fields):
  problem = _problem(**fields)
  fitted = getattr(interpolants, name)(problem)
  targets = np.eye(3)[problem.labels]
  misfit = np.linalg.norm(fitted.train - targets, axis=0)
  worst = np.max(misfit / np.linalg.norm(targets, axis=0))
  assert (fitted.train.argmax(1) == problem.labels).all()
  assert worst == pytest.approx(fitted.report["residual"], rel=0.5, abs=1e-9)
  assert fitted.test.shape == (10, 3)
  assert {"features", "parameters", "kernel", "norm"} <= set(fitted.report)


def test_being_wrong_on_the_test_images_costs_norm_and_nothing_else():
  problem = _problem()
  best = interpolants.min_norm(problem)
  wrong = interpolants.wrong_on_test(problem)
  assert not (wrong.test.argmax(1) == problem.test_labels).any()
  both = np.concatenate([problem.train, problem.test])
  whole = kernels_oracle.matrix(problem.kernel, *[_pixels(both)] * 2)
  values = np.concatenate([wrong.train, wrong.test])
  norm = np.sqrt(np.trace(values.T @ np.linalg.solve(whole, values)))
  assert wrong.report["norm"] == pytest.approx(norm, rel=1e-6)
  assert wrong.report["norm"] > 1.05 * best.report["norm"]


def test_random_centres_are_worse_than_the_points():
  problem = _problem()
  best = interpolants.min_norm(problem)
  other = interpolants.random_centres(problem, seed=1)
  assert other.report["norm"] > 1.5 * best.report["norm"]
  again = interpolants.random_centres(problem, seed=1)
  np.testing.assert_array_equal(other.test, again.test)
  third = interpolants.random_centres(problem, seed=2)
  assert not np.allclose(other.test, third.test)


def test_sgd_from_zero_predicts_what_the_least_norm_predicts():
  steps = ("random_convolution(20, 3)",)
  problem = _problem(kernel="linear()", steps=steps)
  best = interpolants.min_norm(problem)
  zero = interpolants.sgd(problem, epochs=300)
  np.testing.assert_allclose(zero.test, best.test, atol=1e-6)
  assert zero.report["norm"] == pytest.approx(best.report["norm"], rel=1e-6)
  elsewhere = interpolants.sgd(problem, epochs=300, start=0.5)
  assert elsewhere.report["residual"] < 1e-6
  assert elsewhere.report["distance"] > 0.5
  assert elsewhere.report["norm"] > best.report["norm"]
  path, hessian = zero.curves["sgd"], zero.curves["hessian"]
  assert path["step"][-1] == 300 * 40 and path["distance"][0] == 1
  assert len(hessian["value"]) == 161
  assert zero.report["hessian_zeros"] == 161 - 40


@pytest.mark.parametrize(
  ("name", "fields", "message"),
  [
    ("sgd", dict(kernel="linear()", ridge=1.0), "config.ridge must be 0"),
    ("wrong_on_test", dict(ridge=1.0), "config.ridge must be 0"),
    ("random_centres", dict(ridge=1.0), "config.ridge must be 0"),
    ("sgd", {}, r"needs config.kernel='linear\(\)'"),
    ("sgd", dict(kernel="linear()"), "36 features for 40 points"),
  ],
)
def test_what_does_not_fit_together_is_named(name, fields, message):
  with pytest.raises(errors.ConfigError, match=message):
    getattr(interpolants, name)(_problem(**fields))


def test_the_spectrum_is_of_the_kernel_on_some_of_the_points():
  problem = _problem(spectrum_points=20)
  curve = interpolants.min_norm(problem).curves["spectrum"]
  some = _pixels(problem.train[::2])
  whole = kernels_oracle.matrix(problem.kernel, some, some)
  np.testing.assert_allclose(
    curve["value"], np.linalg.eigvalsh(whole)[::-1], atol=1e-6
  )
  np.testing.assert_array_equal(curve["rank"], np.arange(1, 21))


def test_filters_may_be_cached_or_recomputed(monkeypatch):
  steps = ("random_convolution(30, 3)",)
  problem = _problem(kernel="linear()", steps=steps)
  held = interpolants.min_norm(problem)
  monkeypatch.setattr(fitting, "_CACHE_SHARE", 0.0)
  anew = interpolants.min_norm(problem)
  np.testing.assert_allclose(held.test, anew.test, atol=1e-6)
