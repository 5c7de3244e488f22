"""Corruptions of pixels: permutations and Gaussian images."""

import math

import numpy as np
import pytest

from rethink import example
from tests import conftest
from tests import corruption_cases as cases


def _sorted_colours(image):
  """The pixels of every image as one number each, sorted."""
  flat = image.reshape(len(image), -1, 3).astype(np.int64)
  return np.sort(flat @ np.array([1, 256, 65536]), axis=1)


@cases.every_permutation
@pytest.mark.parametrize("after_crop", [True, False])
def test_channels_that_move_together_keep_every_colour(name, after_crop):
  examples = conftest.random_examples(50)
  text = f"{name}(after_crop={after_crop})"
  corrupted, _ = cases.apply(text, examples, cases.context(image_size=6))
  size = 6 if after_crop else 8
  assert corrupted.image.shape == (50, size, size, 3)
  expected = example.center_crop(examples.image, size)
  np.testing.assert_array_equal(
    _sorted_colours(corrupted.image), _sorted_colours(expected)
  )
  assert (corrupted.image != expected).any(axis=(1, 2, 3)).all()
  np.testing.assert_array_equal(corrupted.label, examples.label)


@cases.every_permutation
def test_channels_that_move_apart_keep_the_values_of_each(name):
  examples = conftest.random_examples(50)
  text = f"{name}(channels_together=False)"
  corrupted, _ = cases.apply(text, examples, cases.context(image_size=8))
  np.testing.assert_array_equal(
    np.sort(corrupted.image.reshape(50, 64, 3), axis=1),
    np.sort(examples.image.reshape(50, 64, 3), axis=1),
  )
  assert (
    _sorted_colours(corrupted.image) != _sorted_colours(examples.image)
  ).any()


def _places(n, ids_from):
  """Images that all show, at each pixel, the number of the pixel."""
  ids = np.arange(ids_from, ids_from + n, dtype=np.uint64)
  place = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
  label = np.zeros(n, np.int32)
  return example.Example(ids, place.repeat(n, 0).repeat(3, 3), label, label)


@pytest.mark.parametrize("together", [True, False])
def test_shuffled_pixels_move_alike_in_all_images_of_all_splits(together):
  text = f"shuffled_pixels(channels_together={together})"
  context = cases.context(image_size=8)
  train, _ = cases.apply(text, _places(50, 0), context)
  test, _ = cases.apply(text, _places(20, 1000), context)
  assert len(np.unique(train.image.reshape(50, -1), axis=0)) == 1
  np.testing.assert_array_equal(train.image[0], test.image[0])
  channels = np.unique(train.image[0].reshape(-1, 3).T, axis=0)
  assert len(channels) == (1 if together else 3)


@pytest.mark.parametrize("together", [True, False])
def test_random_pixels_move_otherwise_in_every_image(together):
  text = f"random_pixels(channels_together={together})"
  moved, _ = cases.apply(text, _places(50, 0), cases.context(image_size=8))
  rows = moved.image.transpose(0, 3, 1, 2).reshape(50, 3, 64)
  channels = 1 if together else 3
  assert len(np.unique(rows.reshape(-1, 64), axis=0)) == 50 * channels


@cases.every_permutation
def test_every_pixel_may_go_anywhere(name):
  counts = np.zeros(64, int)
  for data_seed in range(400 if name == "shuffled_pixels" else 1):
    n = 1 if name == "shuffled_pixels" else 400
    moved, _ = cases.apply(
      f"{name}()", _places(n, 0), cases.context(data_seed, image_size=8)
    )
    counts += np.bincount(moved.image[:, 0, 0, 0], minlength=64)
  assert counts.sum() == 400
  assert ((counts - 400 / 64) ** 2 / (400 / 64)).sum() < cases.chi2_bound(63)


def _with_moments(mean, std):
  context = cases.context()
  info = context.info._replace(mean=tuple(mean), std=tuple(std))
  return context._replace(info=info)


def test_gaussian_images_have_the_moments_of_the_training_set():
  mean, std = (100.0, 128.0, 150.0), (10.0, 20.0, 24.0)
  examples = conftest.random_examples(400)
  noise, report = cases.apply("gaussian()", examples, _with_moments(mean, std))
  assert noise.image.dtype == np.uint8
  assert noise.image.shape == examples.image.shape
  values = noise.image.reshape(-1, 3).astype(np.float64)
  # Rounding adds the variance of a step, 1/12.
  rounded = np.sqrt(np.square(std) + 1 / 12)
  sigma = rounded / np.sqrt(len(values))
  assert (np.abs(values.mean(0) - mean) < 4 * sigma).all()
  assert (np.abs(values.std(0) - rounded) < 4 * sigma / np.sqrt(2)).all()
  np.testing.assert_allclose(report["mean"], values.mean(0), atol=1e-4)
  np.testing.assert_allclose(report["std"], values.std(0), atol=1e-4)
  assert report["requested_mean"] == list(mean)
  assert report["requested_std"] == list(std)
  np.testing.assert_array_equal(noise.label, examples.label)


def test_gaussian_images_are_gaussian():
  mean, std = 128.0, 24.0
  noise, _ = cases.apply(
    "gaussian()",
    conftest.random_examples(400),
    _with_moments([mean] * 3, [std] * 3),
  )
  edges = np.arange(64, 193, 8) - 0.5
  cdf = np.array(
    [0.5 * (1 + math.erf((e - mean) / std / math.sqrt(2))) for e in edges]
  )
  expected = noise.image.size * np.diff(cdf, prepend=0, append=1)
  counts = np.bincount(
    np.searchsorted(edges, noise.image.ravel()), minlength=len(expected)
  )
  chi2 = ((counts - expected) ** 2 / expected).sum()
  assert chi2 < cases.chi2_bound(len(expected) - 1)


def test_gaussian_pixels_are_independent():
  noise, _ = cases.apply(
    "gaussian()",
    conftest.random_examples(2000, shape=(2, 2, 3)),
    _with_moments([128.0] * 3, [24.0] * 3),
  )
  correlation = np.corrcoef(noise.image.reshape(2000, -1).T) - np.eye(12)
  assert np.abs(correlation).max() < 4 / np.sqrt(2000)


def test_gaussian_reports_what_clipping_does():
  context = _with_moments([5.0, 128.0, 250.0], [60.0, 30.0, 60.0])
  noise, report = cases.apply(
    "gaussian()", conftest.random_examples(200), context
  )
  assert noise.image[..., 0].min() == 0 and noise.image[..., 2].max() == 255
  assert report["mean"][0] > 15 and report["mean"][2] < 240
  assert report["std"][0] < 50 and abs(report["std"][1] - 30) < 1
  values = noise.image.reshape(-1, 3).astype(np.float64)
  np.testing.assert_allclose(report["mean"], values.mean(0), atol=1e-4)
  np.testing.assert_allclose(report["std"], values.std(0), atol=1e-4)


def test_shared_moments_are_those_of_all_channels():
  images = conftest.random_examples(60).image // np.array([1, 2, 4], np.uint8)
  channels = images.reshape(-1, 3).astype(np.float64)
  context = _with_moments(channels.mean(0), channels.std(0))
  _, report = cases.apply(
    "gaussian(per_channel=False)", conftest.random_examples(10), context
  )
  np.testing.assert_allclose(report["requested_mean"], images.mean(), atol=1e-4)
  np.testing.assert_allclose(report["requested_std"], images.std(), atol=1e-4)


def test_a_channel_without_variance_stays_constant():
  context = _with_moments([7.0, 128.0, 255.0], [0.0, 20.0, 0.0])
  noise, _ = cases.apply("gaussian()", conftest.random_examples(20), context)
  assert (noise.image[..., 0] == 7).all()
  assert (noise.image[..., 2] == 255).all()
  assert len(np.unique(noise.image[..., 1])) > 50
