"""`construct.fit` takes, merges, or refuses its inputs by name."""

import numpy as np
import pytest

from rethink import errors
from rethink.expressivity import certificate, construct

EDGES = {
  "one_point": np.array([[3.0, -1.0]]),
  "one_point_at_zero": np.zeros((1, 4)),
  "one_dimension": np.array([[2.0], [-5.0], [0.0], [1e-9]]),
  "vector_of_numbers": np.array([1.0, 2.0, -3.0]),
  "collinear": np.outer(np.arange(-20, 20), [1.0, 2.0, -3.0]),
  "collinear_along_an_axis": np.eye(3)[:1] * np.arange(30)[:, None],
  "tiny": 1e-6 * np.random.default_rng(0).normal(size=(50, 3)),
  "huge": 1e6 * np.random.default_rng(0).normal(size=(50, 3)),
  "mixed_scales": np.random.default_rng(0).normal(size=(50, 3))
  * [1e-6, 1.0, 1e6],
  "far_from_zero": 1e6 + np.random.default_rng(0).normal(size=(50, 3)),
  "close": np.array([[0.0], [2e-12], [0.5], [1.0]]),
  "images": np.arange(240, dtype=np.uint8).reshape(5, 4, 4, 3),
  "truth_values": np.array([[False, True], [True, False], [True, True]]),
}


@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("name", EDGES)
def test_unusual_points_are_fitted(name, depth):
  points = EDGES[name]
  values = np.arange(len(points)) % 3 - 1.0
  network = construct.fit(points, values, depth)
  found = certificate.certify(network, points, values, range(len(points)))
  assert found.holds, found


def test_equal_points_with_equal_values_are_merged():
  points = np.array([[1.0, 2.0], [0.0, 5.0], [1.0, 2.0], [-0.0, 5.0]])
  values = np.array([3.0, 4.0, 3.0, 4.0])
  network = construct.fit(points, values)
  assert network.num_weights == 2 + 2 * 2
  assert certificate.certify(network, points, values, range(4)).holds


def test_many_copies_of_one_point_are_one_point():
  network = construct.fit(np.ones((100, 3)), np.full(100, 7.0))
  assert network.num_weights == 3 + 2
  np.testing.assert_allclose(network(np.ones((2, 3))), 7)


def _with(array, index, value):
  array = np.array(array, float)
  array[index] = value
  return array


RANDOM = np.random.default_rng(0).normal(size=(6, 3))
ZEROS = np.zeros(6)
IDS = ["a0", "a1", "a2", "a3", "a4", "a5"]
# (points, values), and what the message must name.
REFUSED = {
  "nan": ((_with(RANDOM, (3, 1), np.nan), ZEROS), ["a3", "finite"]),
  "infinity": ((_with(RANDOM, (5, 0), -np.inf), ZEROS), ["a5", "finite"]),
  "value_nan": ((RANDOM, _with(ZEROS, 2, np.nan)), ["a2", "finite"]),
  "value_too_large": ((RANDOM, _with(ZEROS, 4, -1.1e6)), ["a4", "1e+06"]),
  "contradiction": (
    (RANDOM[[0, 1, 2, 3, 1, 5]], np.arange(6)),
    ["a1", "a4", "equal", "[1.0]", "[4.0]"],
  ),
  "too_close": (
    (np.array([[0.0], [1], [2], [3], [4], [4 + 1e-12]]), ZEROS),
    ["a4", "a5", "range"],
  ),
  "no_threshold": (
    (2.0**40 + np.arange(6)[:, None] * 2.0**-12, ZEROS),
    ["a1", "a2", "subtract the mean"],
  ),
  "too_steep": (
    (np.array([[0.0], [1e-11], [1], [2], [3], [4]]), 1e6 * (np.arange(6) % 2)),
    ["a2", "fitted only to"],
  ),
  "integers": ((np.full((6, 1), 2**53 + 2), ZEROS), ["a0", "2^53"]),
  "text": ((np.full((6, 1), "x"), ZEROS), ["real numbers"]),
  "complex_values": ((RANDOM, ZEROS + 1j), ["real numbers"]),
  "too_few_values": ((RANDOM, ZEROS[:5]), ["[6]", "[5]"]),
  "no_dimensions": ((np.zeros((6, 0)), ZEROS), ["no dimensions"]),
  "no_points": ((RANDOM[:0], ZEROS[:0]), ["at least one"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_fitted_is_refused_by_name(name):
  (points, values), words = REFUSED[name]
  with pytest.raises(errors.DataError) as caught:
    construct.fit(points, values, ids=IDS)
  message = str(caught.value)
  assert all(word in message for word in words), message


def test_points_are_named_by_position_if_they_have_no_ids():
  with pytest.raises(errors.DataError, match="point 3 "):
    construct.fit(_with(RANDOM, (3, 1), np.nan), ZEROS)


@pytest.mark.parametrize("depth", [0, -1, 7])
def test_a_depth_out_of_range_is_refused(depth):
  with pytest.raises(errors.ConfigError, match="between 1 and 6"):
    construct.fit(RANDOM, ZEROS, depth)


def test_no_directions_are_refused():
  with pytest.raises(errors.ConfigError, match="directions"):
    construct.fit(RANDOM, ZEROS, directions=0)


def test_a_network_refuses_points_that_are_not_finite():
  network = construct.fit(RANDOM, ZEROS)
  with pytest.raises(errors.DataError, match="point 1 "):
    network(_with(RANDOM, (1, 0), np.inf))
