import numpy as np
import pytest

from rethink.kernels import diagnostics, gram, linear_models
from tests import kernels_oracle as oracle

KERNEL = "gaussian(bandwidth=2.5)"


def test_norms_of_other_codes_need_no_other_solution():
  points, targets = oracle.data(60, 8, classes=4)
  inverse = np.linalg.inv(oracle.matrix(KERNEL, points, points))
  solution = oracle.solve(KERNEL, points, targets, tolerance=1e-12)
  found = diagnostics.norms(solution.coefficients, solution.fitted)

  def total(y):
    return np.sqrt(np.trace(y.T @ inverse @ y))

  each = np.sqrt(np.diag(targets.T @ inverse @ targets))
  expected = {
    "total": total(targets),
    "class_mean": each.mean(),
    "class_max": each.max(),
    "centred_total": total(targets - 1 / 4),
    "signed_total": total(2 * targets - 1),
    "coefficients": np.linalg.norm(inverse @ targets),
  }
  assert found == pytest.approx(expected, rel=1e-7)
  assert solution.report()["norm"] == pytest.approx(expected["total"])


def test_spectrum_is_that_of_the_matrix():
  points, _ = oracle.data(50, 6)
  expected = np.linalg.eigvalsh(oracle.matrix(KERNEL, points, points))[::-1]
  found = diagnostics.spectrum(gram.parse(KERNEL), points)
  np.testing.assert_allclose(found, expected, atol=1e-7)


def test_other_centres_fit_the_points_with_a_larger_norm():
  points, targets = oracle.data(60, 8)
  kernel = gram.parse(KERNEL)
  best = oracle.solve(KERNEL, points, targets).report()["norm"]
  same = diagnostics.with_centres(kernel, points, targets, points)
  assert same.norm == pytest.approx(best, rel=1e-6)
  elsewhere, _ = oracle.data(90, 8, seed=1)
  other = diagnostics.with_centres(kernel, points, targets, elsewhere)
  assert other.residual < 1e-7
  assert other.norm > 1.5 * best


def test_being_wrong_on_more_points_costs_norm():
  points, targets = oracle.data(60, 8)
  best = oracle.solve(KERNEL, points, targets).report()["norm"]
  more, right = oracle.data(30, 8, seed=1)
  wrong = diagnostics.wrong_labels(right.argmax(1), 3, seed=0)
  assert (wrong != right.argmax(1)).all() and set(wrong) == {0, 1, 2}
  both = oracle.solve(
    KERNEL, np.vstack([points, more]), np.vstack([targets, np.eye(3)[wrong]])
  )
  assert (both.fitted[60:].argmax(1) == wrong).all()
  assert both.report()["norm"] > 1.2 * best


@pytest.mark.parametrize("learning_rate", [0.5, 1.0])
def test_sgd_from_zero_ends_at_the_min_norm_interpolant(learning_rate):
  points, targets = oracle.data(20, 120)
  path = linear_models.sgd(
    points, targets, epochs=100, learning_rate=learning_rate
  )
  assert path.distance[0] == 1.0
  assert path.distance[-1] < 1e-9 and path.residual[-1] < 1e-9
  assert path.steps[-1] == 2000
  expected = np.linalg.pinv(points.astype(float)) @ targets
  np.testing.assert_allclose(path.weights, expected, atol=1e-9)


def test_sgd_from_elsewhere_interpolates_and_keeps_what_the_data_do_not_see():
  points, targets = oracle.data(20, 120)
  x = points.astype(float)
  start = np.random.default_rng(0).normal(size=(120, 3))
  path = linear_models.sgd(points, targets, epochs=60, start=start)
  assert path.residual[-1] < 1e-9 and path.distance[-1] > 1
  unseen = start - np.linalg.pinv(x) @ (x @ start)
  expected = np.linalg.pinv(x) @ targets + unseen
  np.testing.assert_allclose(path.weights, expected, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(12, 30), (30, 12)])
def test_hessian_has_as_many_zeros_as_features_beyond_the_points(n, d):
  points, _ = oracle.data(n, d)
  curvature = np.random.default_rng(0).uniform(0.1, 2, n)
  x = points.astype(float)
  expected = np.linalg.eigvalsh(x.T @ (curvature[:, None] * x) / n)[::-1]
  found = linear_models.hessian_spectrum(points, curvature)
  np.testing.assert_allclose(found, expected, atol=1e-7)
  assert np.sum(found == 0) == max(0, d - n)
