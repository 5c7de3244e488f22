import numpy as np
import pytest

from rethink import errors
from rethink.kernels import (
  convolution,
  features,
  fitting,
  least_squares,
  solver,
)
from tests import conftest


def _images(n=40, size=12, channels=3, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (n, size, size, channels)).astype(np.uint8)


def _float(*args, **kwargs):
  return _images(*args, **kwargs).astype(np.float32) / 255


def _filters(images, count=6, **kwargs):
  return convolution.Filters(images, count, side=4, **kwargs)


def _slow_features(images, filters):
  """The features of one block from their definition, a patch at a time."""
  bank, alpha = filters._bank.astype(np.float64), filters._alpha
  side = filters._side
  weights = bank.reshape(-1, bank.shape[-1])
  reach = images.shape[1] - side + 1
  out = np.zeros((len(images), reach, reach, bank.shape[-1]))
  for n, top, left in np.ndindex(len(images), reach, reach):
    patch = images[n, top : top + side, left : left + side].astype(np.float64)
    patch = patch.reshape(-1) - patch.mean()
    patch /= np.sqrt(np.mean(patch**2) + 10 / 255**2)
    out[n, top, left] = patch @ weights - filters._offsets
  both = np.concatenate([out, -out], -1)
  both = np.maximum(both - alpha, 0)
  low, high = -(-reach // 2), reach // 2
  quadrants = [
    both[:, a, b].mean((1, 2))
    for a in (slice(0, low), slice(high, None))
    for b in (slice(0, low), slice(high, None))
  ]
  return np.stack(quadrants, 1).reshape(len(images), -1)


def test_convolutional_features_are_those_of_their_definition():
  images = _float(5)
  filters = _filters(images)
  (block,) = filters.blocks()
  np.testing.assert_allclose(
    block(images), _slow_features(images, filters), atol=2e-5
  )


def test_filters_are_nested_and_follow_the_seed():
  images = _float()
  few, many = _filters(images, 4), _filters(images, 9)
  np.testing.assert_array_equal(few._bank, many._bank[..., :4])
  other = _filters(images, 4, seed=1)
  assert not np.allclose(few._bank, other._bank)


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocked_gram_matrix_is_that_of_all_features(dtype, cache, monkeypatch):
  monkeypatch.setattr(convolution, "_BLOCK", 4)  # 4, 4 and 1 filters
  images = _float(37)
  filters = _filters(images, 9)
  train, test = convolution.features(filters, images, _float(7, seed=1))
  train, test = train.astype(np.float64), test.astype(np.float64)
  assert train.shape == (37, 73)
  assert (train[:, 72] == 1).all() and (test[:, 72] == 1).all()
  np.testing.assert_allclose(train[:, :72].mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(train[:, :72].std(0), 1, atol=1e-4)
  matrix = convolution.ConvolutionGram(filters, images, 16, cache)
  whole = train @ train.T
  lower = matrix.fill(dtype, 0.25)
  size = matrix.layout.size
  for i, row in enumerate(lower):
    for j, tile in enumerate(row):
      wanted = whole + 0.25 * np.eye(37)
      wanted = wanted[i * size : (i + 1) * size, j * size : (j + 1) * size]
      part = np.asarray(tile)[: wanted.shape[0], : wanted.shape[1]]
      np.testing.assert_allclose(part, wanted, atol=1e-3)
  x = np.random.default_rng(0).normal(size=(37, 2))
  np.testing.assert_allclose(matrix.product(x), whole @ x, rtol=1e-8)
  np.testing.assert_allclose(
    matrix.columns(np.array([2, 30])), whole[:, [2, 30]], atol=1e-8
  )
  np.testing.assert_allclose(
    matrix.predict(_float(7, seed=1), x), test @ (train.T @ x), rtol=1e-6
  )


def test_the_gram_matrix_of_filters_interpolates_random_labels():
  images = _float(60)
  targets = np.eye(3)[np.random.default_rng(0).integers(0, 3, 60)]
  matrix = convolution.ConvolutionGram(_filters(images, 40), images, tile=32)
  solution = solver.solve(matrix, targets)
  np.testing.assert_allclose(solution.fitted, targets, atol=1e-9)


def test_standardized_features_have_mean_0_and_variance_1():
  images = _float()
  out = features.standardize(images)(images)
  np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(out.var(0), 1, atol=1e-4)


def test_whitened_features_are_uncorrelated():
  images = _float(400, size=4)
  out = features.whiten(images, epsilon=0.0)(images)
  assert out.shape == images.shape
  covariance = np.cov(out.reshape(400, -1).T, bias=True)
  np.testing.assert_allclose(covariance, np.eye(48), atol=1e-3)


def test_normalize_removes_brightness_and_contrast():
  images = _float()
  step = features.normalize(images)
  np.testing.assert_allclose(step(images), step(0.2 + 0.5 * images), atol=1e-5)
  np.testing.assert_allclose(np.sum(step(images) ** 2, (1, 2, 3)), 1, rtol=1e-4)


def test_gabor_answers_to_its_orientation_and_wavelength():
  x, y = np.meshgrid(np.arange(32), np.arange(32))
  waves = [
    0.5 + 0.5 * np.cos(2 * np.pi / 8 * (x * np.cos(t) + y * np.sin(t)))
    for t in np.pi * np.arange(4) / 4
  ]
  images = np.stack(waves)[..., None].astype(np.float32)
  step = features.gabor(images, orientations=4, wavelengths=(4.0, 8.0), pool=32)
  magnitudes = step(images).reshape(4, 2, 4)  # image, wavelength, orientation
  np.testing.assert_array_equal(magnitudes[:, 1].argmax(1), np.arange(4))
  assert (magnitudes[:, 1].max(1) > 3 * magnitudes[:, 0].max(1)).all()
  flat = step(np.full((1, 32, 32, 1), 0.5, np.float32)).reshape(2, 4)
  assert flat.max() < magnitudes.max() / 2  # only the borders answer


def test_gabor_filters_each_channel():
  images = _float(3)
  step = features.gabor(images, orientations=2, wavelengths=(4.0,), pool=2)
  mono = features.gabor(images[..., :1], 2, (4.0,), 2)
  whole = step(images).reshape(3, 3, -1)
  for c in range(3):
    np.testing.assert_allclose(
      whole[:, c], mono(images[..., c : c + 1]), atol=1e-5
    )


@pytest.mark.parametrize(
  ("steps", "message"),
  [
    (("sharpen()",), "there are:.*gabor.*standardize"),
    (("random_convolution(9, 4)", "standardize()"), "must be the last step"),
    (("gabor()", "gabor()"), "needs images"),
    (("gabor(wavelengths=(1.0,))",), "2 pixels or more"),
    (("random_convolution(patch=12)",), "needs larger images"),
  ],
)
def test_steps_that_do_not_fit_are_named(steps, message):
  with pytest.raises(errors.ConfigError, match=message):
    fitting.prepare(steps, _images())


def test_steps_are_fitted_to_training_images_alone():
  train, a, b = _images(), _images(9, seed=1), _images(9, seed=2)
  steps = ("standardize()", "normalize()")
  first = fitting.prepare(steps, train, a).splits
  second = fitting.prepare(steps, train, b, a).splits
  np.testing.assert_array_equal(first[0], second[0])
  np.testing.assert_array_equal(first[1], second[2])
  (raw,) = fitting.prepare((), train).splits
  np.testing.assert_array_equal(raw, train.reshape(40, -1) / np.float32(255))


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("rank", [20, 12])
def test_primal_solution_is_that_of_the_pseudo_inverse(ridge, rank):
  rng = np.random.default_rng(0)
  rows = rng.normal(size=(3000, rank)) @ rng.normal(size=(rank, 20))
  rows = rows.astype(np.float32)
  if rank < 20:  # exactly so, also in float32
    rows[:, rank:] = rows[:, : 20 - rank]
  targets = rng.normal(size=(3000, 3))
  found = least_squares.solve(rows, targets, ridge)
  double = rows.astype(np.float64)
  gram = double.T @ double + ridge * np.eye(20)
  expected = np.linalg.pinv(gram) @ double.T @ targets
  np.testing.assert_allclose(found.weights, expected, atol=1e-10)
  assert found.rank == (20 if ridge else rank)
  misfit = np.linalg.norm(double @ expected - targets, axis=0)
  assert found.residual == pytest.approx(
    np.max(misfit / np.linalg.norm(targets, axis=0))
  )


def test_primal_and_dual_agree_about_a_ridge():
  examples = conftest.random_examples(90, classes=3)
  images, labels = examples.image, examples.label
  fitted = [
    fitting.interpolate(
      fitting.Problem(
        images[:n], labels[:n], images[n:], labels[n:], 3, kernel, ridge=0.5
      )
    )
    for n in (80,)
    for kernel in ("linear()", "polynomial(degree=1, scale=1.0, offset=0.0)")
  ]
  np.testing.assert_allclose(fitted[0].test, fitted[1].test, atol=1e-9)
  assert fitted[0].report["norm"] == pytest.approx(fitted[1].report["norm"])


@pytest.mark.parametrize("filters", [4, 40])  # fewer features than points; more
def test_random_convolution_is_solved_from_either_side(filters):
  images = _images(80)
  labels = np.random.default_rng(0).integers(0, 3, 80)
  step = f"random_convolution(filters={filters}, patch=4)"
  fitted = fitting.interpolate(
    fitting.Problem(
      images[:60],
      labels[:60],
      images[60:],
      labels[60:],
      3,
      kernel="linear()",
      steps=(step,),
      ridge=0.1,
    )
  )
  (splits, bank) = fitting.prepare((step,), images[:60], images[60:])
  train, test = convolution.features(bank, *splits)
  train, test = train.astype(np.float64), test.astype(np.float64)
  identity = np.eye(train.shape[1])
  weights = np.linalg.solve(
    train.T @ train + 0.1 * identity, train.T @ np.eye(3)[labels[:60]]
  )
  np.testing.assert_allclose(fitted.test, test @ weights, atol=1e-5)
  assert fitted.report["features"] == 8 * filters + 1
  assert ("rank" in fitted.report) == (filters == 4)
  assert fitted.report["norm"] == pytest.approx(np.linalg.norm(weights))
