import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rethink import errors
from rethink.kernels import gram, solver, tiles
from tests import kernels_oracle as oracle

CHOLESKY = ("cholesky('float32')", "cholesky('float64')")


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("text", oracle.KERNELS)
def test_tiles_are_the_kernel_in_both_precisions(text, cache):
  points, _ = oracle.data(37, 5)
  expected = oracle.matrix(text, points, points)
  matrix = gram.PointGram(gram.parse(text), points, 8, cache)
  for dtype, tolerance in (("float64", 1e-13), ("float32", 3e-6)):
    lower = matrix.fill(dtype, 0.5)
    assert len(lower) == 5
    for i, row in enumerate(lower):
      assert len(row) == i + 1
      for j, tile in enumerate(row):
        assert tile.dtype == dtype
        part = np.asarray(tile)[: 37 - 8 * i, : 37 - 8 * j]
        wanted = expected[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
        wanted = wanted + 0.5 * np.eye(*wanted.shape) * (i == j)
        np.testing.assert_allclose(
          part, wanted, atol=tolerance * np.abs(expected).max()
        )


@pytest.mark.parametrize("text", oracle.KERNELS)
def test_products_and_predictions_are_those_of_the_whole_matrix(text):
  points, _ = oracle.data(37, 5)
  others, _ = oracle.data(11, 5, seed=1)
  x = np.random.default_rng(2).normal(size=(37, 4))
  matrix = gram.PointGram(gram.parse(text), points, tile=8)
  whole = oracle.matrix(text, points, points)
  np.testing.assert_allclose(matrix.product(x), whole @ x, rtol=1e-11)
  np.testing.assert_allclose(
    matrix.predict(others, x),
    oracle.matrix(text, others, points) @ x,
    rtol=1e-10,
  )
  np.testing.assert_allclose(
    matrix.columns(np.array([3, 30])), whole[:, [3, 30]], rtol=1e-10, atol=1e-7
  )


@pytest.mark.parametrize("text", oracle.KERNELS)
def test_pixels_have_exact_products(text):
  rng = np.random.default_rng(0)  # 1,100 are more than one exact sum takes
  levels = rng.choice([0, 1, 254, 255], (30, 1100))
  points = levels.astype(np.float32) / 255
  matrix = gram.PointGram(gram.parse(text), points, tile=16)
  assert matrix._exact_sum
  assert not gram.PointGram(matrix.kernel, points / 2)._exact_sum
  expected = oracle.matrix(text, levels / 255, levels / 255)
  for dtype, tolerance in (("float64", 1e-14), ("float32", 1e-7)):
    (_, (lower, _)) = matrix.fill(dtype, 0.0)
    assert lower.dtype == dtype
    np.testing.assert_allclose(
      np.asarray(lower)[:14],
      expected[16:, :16],
      rtol=100 * tolerance,
      atol=tolerance * np.abs(expected).max(),
    )
  x = rng.normal(size=(30, 2))
  np.testing.assert_allclose(matrix.product(x), expected @ x, rtol=1e-11)
  others = rng.normal(size=(5, 1100)).astype(np.float32)  # are no pixels
  for z, exact in ((others, others), (points[:5], levels[:5] / 255)):
    wanted = oracle.matrix(text, exact, levels / 255) @ x
    np.testing.assert_allclose(
      matrix.predict(z, x), wanted, atol=1e-10 * np.abs(wanted).max()
    )
  np.testing.assert_allclose(
    matrix.columns(np.array([3, 29])),
    expected[:, [3, 29]],
    rtol=1e-12,
    atol=1e-12 * np.abs(expected).max(),
  )


def test_bandwidth_zero_is_the_median_distance():
  points, _ = oracle.data(40, 6)
  pairs = [
    np.linalg.norm(points[i].astype(float) - points[j])
    for i in range(40)
    for j in range(i)
  ]
  for name in ("gaussian", "laplacian"):
    kernel = gram.with_bandwidth(gram.parse(f"{name}()"), points)
    assert kernel.kwargs["bandwidth"] == pytest.approx(np.median(pairs))
    assert gram.PointGram(gram.parse(f"{name}()"), points).kernel == kernel
  with pytest.raises(
    errors.ConfigError, match="median distance between 5 points"
  ):
    gram.PointGram(gram.parse("gaussian()"), np.ones((5, 2), np.float32))
  given_one = gram.parse("gaussian(bandwidth=3.0)")
  assert gram.with_bandwidth(given_one, points) is given_one
  assert gram.with_bandwidth(gram.parse("linear()"), points).kwargs == {}


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), size=st.sampled_from([8, 16, 24]))
def test_tiled_factor_solves_like_numpy(n, size):
  rng = np.random.default_rng(n)
  a = rng.normal(size=(n, n + 3))
  whole = a @ a.T + np.eye(n)
  layout = tiles.layout(n, size)
  total = layout.count * layout.size
  padded = np.eye(total)
  padded[:n, :n] = whole
  b = rng.normal(size=(n, 2))
  step = layout.size
  with jax.enable_x64(True):
    lower = [
      [
        jax.device_put(padded[i : i + step, j : j + step])
        for j in range(0, i + 1, step)
      ]
      for i in range(0, total, step)
    ]
    parts = layout.split(b)
    product = layout.join(tiles.multiply(lambda i, j: lower[i][j], parts))
    tiles.factor(lower)
    solved = layout.join(tiles.solve(lower, parts))
  np.testing.assert_allclose(product, whole @ b, rtol=1e-10, atol=1e-10)
  np.testing.assert_allclose(solved, np.linalg.solve(whole, b), rtol=1e-8)


def test_a_tile_is_factored_by_halves(monkeypatch):
  monkeypatch.setattr(tiles, "_LEAF", 8)
  a = np.random.default_rng(0).normal(size=(41, 50))
  with jax.enable_x64(True):
    factor, inverse = jax.jit(tiles._factored)(a @ a.T)
  expected = np.linalg.cholesky(a @ a.T)
  np.testing.assert_allclose(factor, expected, atol=1e-10)
  np.testing.assert_allclose(inverse, np.linalg.inv(expected), atol=1e-10)


def test_a_factor_says_where_it_broke_down():
  with jax.enable_x64(True):
    lower = [
      [jax.numpy.eye(8)],
      [jax.numpy.zeros((8, 8)), -jax.numpy.eye(8)],
    ]
    with pytest.raises(tiles.FactorizationError, match="row 8"):
      tiles.factor(lower)


@pytest.mark.parametrize("preconditioner", (*CHOLESKY, "nystrom(rank=20)"))
@pytest.mark.parametrize("text", [t for t in oracle.KERNELS if t != "linear()"])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_solution_is_that_of_the_pseudo_inverse(text, ridge, preconditioner):
  points, targets = oracle.data(50, 12)
  solution = oracle.solve(
    text,
    points,
    targets,
    tile=16,
    ridge=ridge,
    preconditioner=preconditioner,
    tolerance=1e-12,
  )
  whole = oracle.matrix(text, points, points)
  expected = np.linalg.pinv(whole + ridge * np.eye(50)) @ targets
  np.testing.assert_allclose(
    solution.coefficients, expected, atol=1e-8 * np.abs(expected).max()
  )
  np.testing.assert_allclose(solution.fitted, whole @ expected, atol=1e-8)
  norms = np.sqrt(np.sum(expected * (whole @ expected), 0))
  np.testing.assert_allclose(solution.norms, norms, rtol=1e-7)
  assert solution.residual <= 1e-12


def test_linear_kernel_gives_the_min_norm_solution_of_least_squares():
  points, targets = oracle.data(30, 80)
  solution = oracle.solve("linear()", points, targets, tile=8)
  weights = points.T.astype(float) @ solution.coefficients
  expected = np.linalg.pinv(points.astype(float)) @ targets
  np.testing.assert_allclose(weights, expected, atol=1e-9)
  np.testing.assert_allclose(
    solution.norms, np.linalg.norm(expected, axis=0), rtol=1e-8
  )


@pytest.mark.parametrize("text", ["gaussian()", "laplacian()", "arc_cosine()"])
def test_random_labels_are_interpolated(text):
  points, targets = oracle.data(200, 30, classes=10)
  solution = oracle.solve(text, points, targets, tile=64)
  np.testing.assert_allclose(solution.fitted, targets, atol=1e-9)
  assert (solution.fitted.argmax(1) == targets.argmax(1)).all()


def test_order_of_points_and_classes_does_not_matter():
  points, targets = oracle.data(60, 10)
  others, _ = oracle.data(9, 10, seed=1)
  kernel = gram.parse("gaussian(bandwidth=3.0)")

  def predicted(order, classes):
    matrix = gram.PointGram(kernel, points[order], tile=16)
    solution = solver.solve(matrix, targets[order][:, classes])
    return matrix.predict(others, solution.coefficients)

  straight = predicted(np.arange(60), [0, 1, 2])
  shuffled = predicted(np.random.default_rng(0).permutation(60), [2, 0, 1])
  np.testing.assert_allclose(shuffled, straight[:, [2, 0, 1]], atol=1e-7)


def test_refinement_takes_float32_to_float64():
  points, targets = oracle.data(300, 10)
  kernel = "gaussian(bandwidth=4.0)"
  coarse = oracle.solve(kernel, points, targets, tolerance=1.0)
  fine = oracle.solve(kernel, points, targets, tolerance=1e-11)
  assert coarse.residual > 1e-5
  assert coarse.first_residual == fine.first_residual
  assert fine.residual <= 1e-11
  full = oracle.solve(
    kernel,
    points,
    targets,
    preconditioner="cholesky('float64')",
    tolerance=1e-11,
  )
  assert full.first_residual < 1e-3 * fine.first_residual
  np.testing.assert_allclose(full.fitted, fine.fitted, atol=1e-10)


def test_cached_tiles_change_no_bit_of_a_product():
  points, targets = oracle.data(37, 5)
  kernel = gram.parse("gaussian(bandwidth=2.0)")
  products = []
  for cache in (False, True):
    matrix = gram.PointGram(kernel, points, 16, cache)
    tiles.factor(matrix.fill("float32", 0.0))  # which must not spoil them
    products.append(matrix.product(targets))
  np.testing.assert_array_equal(*products)


def test_condition_is_estimated():
  points, targets = oracle.data(80, 6)
  kernel = "gaussian(bandwidth=1.5)"
  values = np.linalg.eigvalsh(oracle.matrix(kernel, points, points))
  for preconditioner in CHOLESKY:
    solution = oracle.solve(
      kernel, points, targets, tile=32, preconditioner=preconditioner
    )
    expected = values[-1] / values[0]
    assert solution.condition == pytest.approx(expected, rel=0.1)


def test_a_matrix_that_float32_cannot_factor_is_solved_with_a_shift():
  points, targets = oracle.data(120, 3)
  kernel = "gaussian(bandwidth=1.6)"
  values = np.linalg.eigvalsh(oracle.matrix(kernel, points, points))
  assert 0 < values[0] < 1e-8 * values[-1]  # below what float32 resolves
  solution = oracle.solve(
    kernel, points, targets, tolerance=1e-6, max_rounds=2000
  )
  assert solution.shift > 0
  assert solution.residual <= 1e-6


def test_too_wide_a_bandwidth_is_refused_with_the_facts():
  points, targets = oracle.data(100, 3)
  with pytest.raises(errors.ConfigError) as caught:
    oracle.solve("gaussian(bandwidth=50.0)", points, targets, max_rounds=20)
  message = str(caught.value)
  for fact in (
    "condition number",
    "bandwidth is too wide",
    "ridge 0",
    "positive definite",
  ):
    assert fact in message
  assert "nan" not in message.lower()


def test_equal_points_with_different_targets_are_named():
  points, targets = oracle.data(30, 5)
  points[7] = points[3]
  targets[3], targets[7] = np.eye(3)[0], np.eye(3)[1]
  with pytest.raises(errors.ConfigError, match="points 3 and 7"):
    oracle.solve("gaussian()", points, targets)
  solution = oracle.solve("gaussian()", points, targets, ridge=0.1)
  assert solution.duplicates == 1  # a ridge makes them averages
  np.testing.assert_allclose(solution.fitted[3], solution.fitted[7], atol=1e-9)


def test_equal_points_with_equal_targets_are_interpolated():
  points, targets = oracle.data(30, 5)
  points[7], targets[7] = points[3], targets[3]
  for preconditioner in (*CHOLESKY, "nystrom(rank=25)"):
    solution = oracle.solve(
      "gaussian()", points, targets, preconditioner=preconditioner
    )
    assert solution.duplicates == 1
    np.testing.assert_allclose(solution.fitted, targets, atol=1e-9)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("gausian()", "there are:.*gaussian.*laplacian"),
    ("gaussian(bandwidth=-1.0)", "bandwidth must lie in"),
    ("arc_cosine(degree=3)", "degree must be one of"),
  ],
)
def test_a_wrong_kernel_is_named(text, message):
  with pytest.raises(errors.ConfigError, match=message):
    gram.parse(text)


def test_what_cannot_be_solved_is_refused():
  points, targets = oracle.data(10, 5)
  with pytest.raises(errors.ConfigError, match="9 targets for 10 points"):
    oracle.solve("gaussian()", points, targets[:9])
  with pytest.raises(errors.ConfigError, match="ridge must be 0 or more"):
    oracle.solve("gaussian()", points, targets, ridge=-1.0)
  with pytest.raises(errors.ConfigError, match="preconditioner: there is no"):
    oracle.solve("gaussian()", points, targets, preconditioner="lu()")
