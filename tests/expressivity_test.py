"""Theorem 1 and Lemma 1: what is built, against rational arithmetic."""

from fractions import Fraction

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from rethink.expressivity import (
  certificate,
  construct,
  layers,
  projections,
  shallow,
)

SETTINGS = hypothesis.settings(max_examples=60, deadline=None)


@st.composite
def problems(draw, largest_value=1e3):
  """Distinct points on a lattice of any scale, and real values."""
  d, n = draw(st.integers(1, 4)), draw(st.integers(1, 30))
  coordinate = st.integers(-1000, 1000)
  lattice = draw(
    st.lists(st.tuples(*[coordinate] * d), min_size=n, max_size=n, unique=True)
  )
  scale = 10.0 ** draw(st.integers(-6, 6))
  value = st.floats(-largest_value, largest_value)
  values = draw(st.lists(value, min_size=n, max_size=n))
  return np.array(lattice) * scale, np.array(values)


def _random(n=200, d=20, outputs=None, seed=0):
  rng = np.random.default_rng(seed)
  shape = n if outputs is None else (n, outputs)
  return rng.normal(size=(n, d)), rng.normal(size=shape)


def _project(direction, point):
  return sum(
    Fraction(a) * Fraction(z) for a, z in zip(direction, point, strict=True)
  )


def _rational(network, point):
  """The definition, written out: sum_j w_j max(<a, z> - b_j, 0)."""
  x = _project(network.direction.tolist(), np.ravel(point).tolist())
  hinges = [max(x - Fraction(b), 0) for b in network.thresholds.tolist()]
  return [
    sum(Fraction(v) * h for v, h in zip(column, hinges, strict=True))
    for column in network.weights.T.tolist()
  ]


@SETTINGS
@hypothesis.given(problems())
def test_distinct_points_and_values_are_fitted(problem):
  points, values = problem
  network = construct.fit(points, values)
  found = certificate.certify(network, points, values, range(len(points)))
  assert found.holds and found.rational_points == len(points)
  assert found.num_weights == points.shape[1] + 2 * len(points)


@SETTINGS
@hypothesis.given(problems(largest_value=1e6))
def test_only_the_rounding_of_one_weight_is_left_of_the_error(problem):
  points, values = problem
  try:
    network = construct.fit(points, values)
  except construct.errors.DataError as error:
    assert "is fitted only to" in str(error)
    return
  x = [_project(network.direction.tolist(), z) for z in points.tolist()]
  order = sorted(range(len(x)), key=x.__getitem__)
  for i, b, w in zip(
    order,
    network.thresholds.tolist(),
    network.weights[:, 0].tolist(),
    strict=True,
  ):
    error = abs(_rational(network, points[i])[0] - Fraction(values[i]))
    assert error <= 2**-53 * abs(w) * (x[i] - Fraction(b)) + 1e-12


@SETTINGS
@hypothesis.given(problems(), st.integers(0, 2**32))
def test_a_network_is_its_plain_relu_sum_everywhere(problem, seed):
  points, values = problem
  network = construct.fit(points, values)
  rng = np.random.default_rng(seed)
  middle, size = points.mean(axis=0), np.abs(points).max() + 1e-9
  others = middle + size * rng.normal(size=(10, points.shape[1]))
  scale = np.abs(values).max() + network.lipschitz * size
  for point, got in zip(others, network(others), strict=True):
    assert abs(_rational(network, point)[0] - Fraction(got)) <= 1e-12 * scale


@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_weights_are_counted_and_outputs_keep_the_form_of_values(outputs):
  points, values = _random(outputs=outputs)
  network = construct.fit(points, values)
  k = outputs or 1
  assert network.direction.shape == (20,)
  assert network.thresholds.shape == (200,)
  assert network.weights.shape == (200, k)
  assert network.num_weights == 20 + 200 + 200 * k
  assert network(points).shape == values.shape
  assert certificate.certify(network, points, values).holds


def test_outputs_share_direction_and_thresholds():
  points, values = _random(outputs=3)
  together = construct.fit(points, values)
  alone = construct.fit(points, values[:, 2])
  np.testing.assert_array_equal(together.thresholds, alone.thresholds)
  np.testing.assert_array_equal(together.weights[:, 2:], alone.weights)


def test_along_the_direction_it_interpolates_linearly():
  rng = np.random.default_rng(0)
  points = rng.integers(0, 256, (300, 12)).astype(np.uint8)
  values = rng.normal(size=300)
  network = construct.fit(points, values)
  x = points @ network.direction
  order = np.argsort(x)
  between = rng.uniform(x.min(), x.max(), 1000)
  got = network.along(projections.Projection(between, np.zeros(1000)))
  want = np.interp(between, x[order], values[order])
  np.testing.assert_allclose(got, want, atol=1e-9)
  slopes = np.abs(np.diff(values[order]) / np.diff(x[order]))
  steepest = slopes.max() * np.linalg.norm(network.direction)
  np.testing.assert_allclose(network.lipschitz, steepest, rtol=1e-9)


def test_the_plain_sum_in_float64_is_right_where_little_cancels():
  points, values = _random()
  network = construct.fit(points, values)
  x = points @ network.direction
  got = layers.forward(network.layers, x[None])[0]
  np.testing.assert_allclose(got, values, atol=1e-6)


def test_left_of_all_thresholds_it_is_zero():
  points, values = _random(d=1)
  network = construct.fit(points, values)
  far = np.array([[points.min() - 100]])
  assert network(far) == 0 == layers.forward(network.layers, far)[0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64])
def test_order_of_points_changes_no_bit(dtype):
  rng = np.random.default_rng(1)
  points = rng.permutation(40_000)[:400].reshape(100, 4).astype(dtype)
  values = rng.normal(size=100)
  order = rng.permutation(100)
  _, unique = np.unique(points, axis=0, return_index=True)
  assert len(unique) == 100
  one = construct.fit(points, values)
  other = construct.fit(points[order], values[order])
  for field in ("direction", "thresholds", "weights"):
    assert getattr(one, field).tobytes() == getattr(other, field).tobytes()


class _Stream:
  """Points that exist only while they are read."""

  def __init__(self, points):
    self._points, self.shape, self.read = points, points.shape, []

  def __getitem__(self, index):
    assert isinstance(index, slice)
    self.read.append(index.stop - index.start)
    return self._points[index].copy()


def test_points_are_read_in_blocks_and_blocks_change_no_bit(monkeypatch):
  rng = np.random.default_rng(2)
  points = rng.integers(0, 256, (100, 4, 4, 3)).astype(np.uint8)
  values = rng.integers(0, 10, 100)
  whole = construct.fit(points, values)
  monkeypatch.setattr(projections, "_BLOCK", 7 * 48)
  stream = _Stream(points)
  parts = construct.fit(stream, values)
  assert max(stream.read) == 7
  assert parts.weights.tobytes() == whole.weights.tobytes()
  assert parts.thresholds.tobytes() == whole.thresholds.tobytes()
  assert certificate.certify(parts, _Stream(points), values).holds


def test_a_network_for_images_takes_real_points_too():
  rng = np.random.default_rng(5)
  images = rng.integers(0, 256, (50, 4, 4, 3)).astype(np.uint8)
  values = rng.normal(size=50)
  network = construct.fit(images, values)
  reals = images.astype(np.float64)
  assert (network(reals) == network(images)).all()
  reals += rng.normal(size=reals.shape)
  for point, got in zip(reals, network(reals), strict=True):
    assert abs(_rational(network, point)[0] - Fraction(got)) <= 1e-12
  wide = rng.integers(-(2**15), 2**15, (5, 48)).astype(np.int16)
  x = projections.project(wide, network.direction[None])
  assert not x.low.any()
  for i, point in enumerate(wide.tolist()):
    assert Fraction(x.high[0, i]) == _project(network.direction.tolist(), point)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, bool])
def test_projections_of_small_integers_are_exact(dtype):
  rng = np.random.default_rng(3)
  points = rng.integers(-(2**15), 2**15, (20, 100)).astype(dtype)
  a = projections.directions(points, 3, seed=0)
  got = projections.project(points, a)
  assert not got.low.any()
  for k in range(3):
    for i, point in enumerate(points.astype(int).tolist()):
      assert Fraction(got.high[k, i]) == _project(a[k].tolist(), point)


@SETTINGS
@hypothesis.given(st.integers(0, 2**32), st.integers(-30, 30))
def test_projections_of_reals_are_right_to_85_bits(seed, sharded):
  rng = np.random.default_rng(seed)
  points = rng.normal(size=(5, 30)) * 10.0 ** rng.integers(0, 6, 30)
  points = np.ldexp(points, sharded)
  a = projections.directions(points, 2, seed=1)
  got = projections.project(points, a)
  limit = 2**-85 * 30 * float(np.abs(points).max())
  for k in range(2):
    for i, point in enumerate(points.tolist()):
      sum_ = Fraction(got.high[k, i]) + Fraction(got.low[k, i])
      assert abs(sum_ - _project(a[k].tolist(), point)) <= limit


def test_directions_have_length_near_one_and_depend_on_the_seed():
  points = np.zeros((1, 3072), np.uint8)
  a = projections.directions(points, 16, seed=0)
  lengths = np.linalg.norm(a, axis=1)
  assert (lengths > 0.6).all() and (lengths < 1.5).all()
  cosines = (a @ a.T) / np.outer(lengths, lengths) - np.eye(16)
  assert np.abs(cosines).max() < 0.1
  assert not np.array_equal(a, projections.directions(points, 16, seed=1))


def test_more_directions_leave_a_larger_smallest_gap():
  points, values = _random(n=2000, d=5)
  gaps = []
  for count in (1, 4, 16):
    b = construct.fit(points, values, directions=count).thresholds[1:]
    gaps.append(np.diff(b).min() / np.ptp(b))
  assert gaps == sorted(gaps) and gaps[2] > gaps[0]


def _lemma_1_matrix(x, thresholds):
  return np.maximum(np.subtract.outer(x, thresholds), 0.0)


@pytest.mark.parametrize("n", [1, 2, 10, 30])
def test_lemma_1_full_rank_and_the_smallest_eigenvalue(n):
  rng = np.random.default_rng(n)
  x = np.sort(rng.normal(size=n))
  middle = np.concatenate([[x[0] - 1], (x[:-1] + x[1:]) / 2])
  left = np.concatenate([[x[0] - 1], x[:-1]])
  smallest = []
  for b in (middle, left):
    a = _lemma_1_matrix(x, b)
    assert np.linalg.matrix_rank(a) == n
    # Computed without using that A is triangular.
    smallest.append(np.real(np.linalg.eigvals(a)).min())
    np.testing.assert_allclose(smallest[-1], (x - b).min(), rtol=1e-9)
    # A is not normal: its smallest singular value may be far smaller.
    assert np.linalg.svd(a, compute_uv=False)[-1] <= smallest[-1]
  if n > 2:  # thresholds at the points double the smallest eigenvalue
    np.testing.assert_allclose(smallest[1], 2 * smallest[0])


def test_the_weights_solve_the_system_of_lemma_1():
  points, values = _random(n=40, d=3)
  network = construct.fit(points, values)
  x = points @ network.direction
  order = np.argsort(x)
  a = _lemma_1_matrix(x[order], network.thresholds)
  assert (np.triu(a, 1) <= 1e-15).all()
  np.testing.assert_allclose(a @ network.weights[:, 0], values[order])
  w = np.linalg.solve(a, values[order])
  np.testing.assert_allclose(network.weights[:, 0], w, rtol=1e-6)


def test_a_certificate_sees_a_wrong_weight():
  points, values = _random()
  network = construct.fit(points, values)
  weights = network.weights.copy()
  weights[100] *= 1 + 1e-3
  broken = shallow.Network(network.direction, network.thresholds, weights)
  first = int(np.argmax(points @ network.direction))
  found = certificate.certify(broken, points, values, [first])
  assert not found.holds
  assert found.largest_error > 1e-4 and found.rational_error > 1e-4


@pytest.mark.parametrize("outputs", [None, 10])
def test_a_certificate_counts_wrong_labels(outputs):
  rng = np.random.default_rng(4)
  points, labels = rng.normal(size=(50, 3)), rng.integers(0, 10, 50)
  values = labels if outputs is None else np.eye(10)[labels]
  network = construct.fit(points, values)
  assert certificate.certify(network, points, values).wrong_labels == 0
  other = values.copy()
  other[:7] = np.roll(values[:7], 1, axis=-1) if outputs else values[:7] + 1
  found = certificate.certify(network, points, other)
  assert found.wrong_labels == 7 and not found.holds


@pytest.mark.slow
@pytest.mark.parametrize("depth", [None, 100])
def test_as_many_images_as_cifar_10_has_are_fitted(depth):
  rng = np.random.default_rng(6)
  images = rng.integers(0, 256, (50_000, 32, 32, 3), np.uint8)
  labels = rng.integers(0, 10, 50_000)
  network = construct.fit(images, labels, depth)
  found = certificate.certify(network, images, labels)
  assert found.holds, found
  assert depth or found.num_weights == 103_072
