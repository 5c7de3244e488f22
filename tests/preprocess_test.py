import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import regularizers
from rethink.pipeline import preprocess
from tests import conftest


def _standardized(images: np.ndarray) -> np.ndarray:
  """Per-image whitening in float64, one image at a time."""
  out = []
  for image in np.asarray(images, np.float64):
    deviation = max(image.std(), 1 / np.sqrt(image.size))
    out.append((image - image.mean()) / deviation)
  return np.stack(out)


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8, 1), (28, 28, 3)])
def test_standardize_is_whitening_over_all_values_of_an_image(shape):
  images = conftest.random_examples(5, shape).image / np.float32(255)
  got = preprocess.standardize(jnp.asarray(images))
  np.testing.assert_allclose(got, _standardized(images), atol=2e-6)
  np.testing.assert_allclose(np.std(got, (1, 2, 3)), 1, atol=1e-5)


def test_a_faint_image_is_divided_by_the_floor_of_the_deviation():
  noise = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
  images = np.float32(0.5 + 1e-3 * noise)
  got = preprocess.standardize(jnp.asarray(images))
  np.testing.assert_allclose(got, _standardized(images), atol=1e-5)
  assert np.std(got) < 0.1


@pytest.mark.parametrize("value", [0, 1, 77, 128, 255])
def test_a_constant_image_becomes_zeros(value):
  images = np.full((2, 28, 28, 3), value, np.uint8)
  np.testing.assert_allclose(preprocess.evaluation(images, 28), 0, atol=1e-4)


@pytest.mark.parametrize("size, first", [(8, 0), (6, 1), (5, 1), (4, 2)])
def test_evaluation_is_the_standardized_central_crop(size, first):
  images = conftest.random_examples(4).image
  crop = images[:, first : first + size, first : first + size, :]
  got = preprocess.evaluation(images, size)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, _standardized(crop / 255.0), atol=2e-6)
  for view in (
    preprocess.evaluation(images, size, "symmetric"),
    preprocess.on_host(images, size, 1, "symmetric"),
    preprocess.training(jax.random.key(0), images, (), size, "symmetric"),
  ):
    np.testing.assert_allclose(view, crop / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("size", [8, 6])
def test_training_without_augmentation_is_evaluation(size):
  images = jnp.asarray(conftest.random_examples(4).image)
  got = preprocess.training(jax.random.key(0), images, (), size)
  assert np.array_equal(got, preprocess.evaluation(images, size))


def test_an_augmentation_that_does_nothing_changes_nothing():
  images = jnp.asarray(conftest.random_examples(4).image)
  got = preprocess.training(
    jax.random.key(0), images, [lambda key, image, size: image], 6
  )
  np.testing.assert_allclose(got, preprocess.evaluation(images, 6), atol=2e-6)


def test_augmentations_see_pixels_in_unit_range_and_the_size_in_their_order():
  images = conftest.random_examples(3).image
  seen = []

  def spy(key, image, size):
    seen.append((image.shape, image.dtype, size))
    return image

  def red_only(key, image, size):
    return image.at[..., 1:].set(0)

  def negative(key, image, size):
    return 1 - image

  got = preprocess.training(
    jax.random.key(0), jnp.asarray(images), [spy, red_only, negative], 6
  )
  assert seen == [((8, 8, 3), jnp.float32, 6)]
  want = 1 - images[:, 1:7, 1:7] / 255 * [1, 0, 0]
  np.testing.assert_allclose(got, _standardized(want), atol=2e-6)


def test_the_key_decides_the_augmentation():
  images = jnp.asarray(conftest.random_examples(16).image)
  augments = [regularizers.random_crop(padding=2).augment]

  def draw(seed):
    return np.asarray(
      preprocess.training(jax.random.key(seed), images, augments, 8)
    )

  assert np.array_equal(draw(0), draw(0))
  assert not np.array_equal(draw(0), draw(1))


def test_every_image_and_every_augmentation_has_its_own_draw(monkeypatch):
  images = jnp.zeros((50, 4, 4, 1), jnp.uint8)

  def draw(key, image, size):
    return image.at[0].add(jax.random.uniform(key))

  def draw_below(key, image, size):
    return image.at[1].add(jax.random.uniform(key))

  monkeypatch.setattr(preprocess, "standardize", lambda images: images)
  got = preprocess.training(jax.random.key(0), images, [draw, draw_below], 4)
  draws = np.asarray(got)[:, :2, 0, 0]
  assert len(np.unique(draws)) == 100
