import itertools

import numpy as np
import pytest

from rethink import errors
from rethink.expressivity import construct, rademacher

N = 40
IDS = np.arange(1, N + 1, dtype=np.uint64) * np.uint64(0xDA942042E4DD58B5)
POINTS = np.random.default_rng(0).normal(size=(N, 5))


def _least_squares(points):
  return lambda s: (points @ np.linalg.lstsq(points, s.T, rcond=None)[0]).T


def _measured(learner, ids, draws=10, seed=0):
  signs = rademacher.signs(ids, draws, seed)
  return rademacher.estimate(signs, learner(signs))


def test_signs_are_fair_and_a_column_depends_on_its_id_alone():
  drawn = rademacher.signs(IDS, 500, seed=3)
  assert set(np.unique(drawn)) == {-1.0, 1.0}
  assert abs(drawn.sum()) <= 4.5 * np.sqrt(drawn.size)
  products = drawn.T @ drawn / 500 - np.eye(N)
  assert np.abs(products).max() <= 5 / np.sqrt(500)
  np.testing.assert_array_equal(
    rademacher.signs(IDS[7:9], 500, seed=3), drawn[:, 7:9]
  )
  assert (rademacher.signs(IDS, 500, seed=4) != drawn).any()


def test_the_construction_attains_one():
  def learner(s):
    return construct.fit(POINTS, s.T)(POINTS).T

  found = _measured(learner, IDS)
  assert found.mean == pytest.approx(1, abs=1e-6)
  assert found.high - found.low < 1e-6


def test_a_constant_attains_nothing_on_average():
  found = _measured(np.ones_like, IDS, draws=200)
  assert found.low < 0 < found.high


def test_the_best_constant_attains_the_mean_of_the_absolute_sum():
  # E|sum of 4 signs| / 4, over all 16 sign vectors.
  want = np.mean(
    [abs(sum(s)) / 4 for s in itertools.product([-1, 1], repeat=4)]
  )

  def learner(s):
    return np.sign(s.sum(axis=1, keepdims=True)) * np.ones_like(s)

  found = _measured(learner, IDS[:4], draws=4000)
  assert abs(found.mean - want) < 0.02  # four standard errors
  assert found.low < found.mean < found.high < found.low + 0.03


def test_a_linear_learner_attains_one_up_to_n_equal_d_and_less_beyond():
  means = []
  for n in (3, 5, 10, 20, 40):
    learner = _least_squares(POINTS[:n])
    means.append(_measured(learner, IDS[:n], draws=50).mean)
  np.testing.assert_allclose(means[:2], 1, atol=1e-9)
  assert means[1:] == sorted(means[1:], reverse=True) and means[-1] < 0.4


def test_values_are_clipped_so_that_size_alone_attains_nothing():
  found = _measured(lambda s: 1e6 * s, IDS)
  assert found.mean == 1


def test_the_interval_is_students_and_covers_as_often_as_it_says():
  def learner(s):
    return np.sign(s[:, :1]) * np.ones_like(s)

  truth, inside = 1 / N, 0
  for seed in range(200):
    found = _measured(learner, IDS, draws=8, seed=seed)
    inside += found.low <= truth <= found.high
  assert 0.89 * 200 <= inside <= 0.99 * 200


@pytest.mark.parametrize("draws", [0, 1])
def test_too_few_draws_are_refused(draws):
  with pytest.raises(errors.ConfigError, match="draws"):
    _measured(np.sign, IDS, draws=draws)


def test_a_learner_that_diverges_or_returns_another_shape_is_refused():
  with pytest.raises(errors.DivergedError, match="sign vector 0"):
    _measured(lambda s: s * np.nan, IDS)
  with pytest.raises(errors.ConfigError, match="shape"):
    _measured(lambda s: s[:3], IDS)
