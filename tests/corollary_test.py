"""Corollary 1: depth k, width O(n / k), O(n + d) weights."""

from fractions import Fraction

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from rethink.expressivity import certificate, construct, layers
from tests import expressivity_test

N, D = 200, 5


def _problem(outputs=None):
  rng = np.random.default_rng(0)
  shape = N if outputs is None else (N, outputs)
  return rng.normal(size=(N, D)), rng.normal(size=shape)


@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("depth", [1, *range(2, N // 10 + 1), N // 2, N])
def test_every_depth_fits_with_few_weights_in_narrow_layers(depth, outputs):
  points, values = _problem(outputs)
  network = construct.fit(points, values, depth)
  k = outputs or 1
  hidden = network.layers[:-1]
  assert network.depth == len(hidden) == depth
  assert [layer.matrix.shape[1] for layer in network.layers[1:]] == [
    len(layer.bias) for layer in hidden
  ]
  assert network.width <= -(-N // depth) + 2 + k
  assert network.num_weights <= D + (2 + k) * N + (5 + 3 * k) * depth
  assert certificate.certify(network, points, values, [0, N - 1]).holds


@expressivity_test.SETTINGS
@hypothesis.given(expressivity_test.problems(100.0), st.data())
def test_the_layers_equal_the_closed_form_everywhere(problem, data):
  points, values = problem
  depth = data.draw(st.integers(1, len(points)))
  network = construct.fit(points, values, depth)
  closed = network.closed_form()
  rng = np.random.default_rng(0)
  size = np.abs(points).max() + 1e-9
  others = points.mean(0) + 3 * size * rng.normal(size=(20, points.shape[1]))
  x = others @ network.direction
  # Weights of some 1 / (smallest gap) cancel in plain float64.
  scale = 1 + np.abs(network.weights[0]).max() * (np.abs(x).max() + size)
  scale += sum(np.abs(w).max() for w in network.weights) * np.ptp(x)
  np.testing.assert_allclose(
    network(others), closed(others), rtol=0, atol=1e-13 * scale
  )


@pytest.mark.parametrize("depth", [1, 3, 10])
def test_in_rational_arithmetic_the_two_forms_are_the_same_number(depth):
  points = np.random.default_rng(1).integers(0, 256, (30, 4)).astype(np.uint8)
  values = np.random.default_rng(2).normal(size=30)
  network = construct.fit(points, values, depth)
  closed = network.closed_form()
  for i, point in enumerate(points.tolist()):
    x = sum(
      Fraction(a) * z for a, z in zip(network.direction, point, strict=True)
    )
    (deep,) = layers.rational(network.layers, x)
    (shallow,) = layers.rational(closed.layers, x)
    assert deep == shallow
    assert abs(deep - Fraction(values[i])) < 1e-12


@pytest.mark.parametrize("depth", [2, 7, 50])
def test_carried_sums_are_never_cut_and_stay_among_the_values(depth):
  points, values = _problem()
  network = construct.fit(points, values, depth)
  low, high = min(0, values.min()), max(0, values.max())
  x = (points @ network.direction)[None]
  for layer in network.layers[:-1]:
    x = layer.matrix @ x + layer.bias[:, None]
    carried = x[1] - network.shift
    assert (carried >= low - 1e-9).all() and (carried <= high + 1e-9).all()
    x = np.maximum(x, 0)


def test_depth_and_theorem_1_are_the_same_function_at_the_points():
  points, values = _problem()
  one, many = (construct.fit(points, values, k) for k in (None, 20))
  np.testing.assert_array_equal(one.direction, many.direction)
  np.testing.assert_array_equal(
    one.thresholds, np.unique(np.concatenate(many.thresholds))
  )
  np.testing.assert_allclose(one(points), many(points), atol=1e-8)


def test_a_block_of_points_changes_nothing_but_rounding(monkeypatch):
  points, values = _problem()
  network = construct.fit(points, values, 5)
  whole = network(points)
  monkeypatch.setattr("rethink.expressivity.deep._BLOCK", 1)
  np.testing.assert_allclose(network(points), whole, atol=1e-10)
