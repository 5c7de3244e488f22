import hashlib
import json
import math

import numpy as np
import pytest

from rethink import bits, corruptions, errors, example, specs
from tests import conftest

_KNOWN = specs.public(corruptions)
# Of those that have no default for every argument.
_ARGUMENTS = {"partially_corrupted_labels": "p=0.3"}
_OF_LABELS = ("partially_corrupted_labels(0.3)", "random_labels()")
_PERMUTATIONS = ("shuffled_pixels", "random_pixels")

# sha256 of the labels and of the images that `_golden` corrupts. A digest that
# changes means that published results are about another data set.
_GOLDEN = {
  "partially_corrupted_labels(p=0.3)": (
    "175aed6f2e9142facb4ad943fffcd1a08318d6eb6ddd0cd97ccda85e1657bb6f",
    "a6a40c2954a15f0c17dff066b87f827d82c9ad78b51021cf7109b7c3acf65a1d",
  ),
  "random_labels()": (
    "23b77cbd3774ed36b4b2366b21d0536d56b590d7b23ee0579494c3f5bab9f8e0",
    "a6a40c2954a15f0c17dff066b87f827d82c9ad78b51021cf7109b7c3acf65a1d",
  ),
  "shuffled_pixels(channels_together=True, after_crop=True)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "1db05e402d9e45f0cb533c1b70396f8416aaf31242e06b007ef0e3fec290347e",
  ),
  "shuffled_pixels(channels_together=True, after_crop=False)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "656929550fe332eeca3146983aa4d7e756b18b45b8f5883fc24f2988b4351fce",
  ),
  "shuffled_pixels(channels_together=False, after_crop=True)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "9d2ec5239d75cfcc36dee45ec0a03981979761153e30f846aeb7a947660ef746",
  ),
  "shuffled_pixels(channels_together=False, after_crop=False)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "3426b5fd963764bb39a3916e1de2d37d4cc967366717caabdd2dfb0055014521",
  ),
  "random_pixels(channels_together=True, after_crop=True)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "972ec9ffbf0023e9517465363ea135ddba9858aad228a3e853241011d8701f89",
  ),
  "random_pixels(channels_together=True, after_crop=False)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "4329e487ffd1eb31040a8cf6128714381b1b1bdd7e7b070e168bf15962e9fe06",
  ),
  "random_pixels(channels_together=False, after_crop=True)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "9b76b159e40e068642c325fe606d8f8282750cfa2ffd1c338476cb6f4620fe5e",
  ),
  "random_pixels(channels_together=False, after_crop=False)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "985d68e0bab96a808accef7782dff5a7eec2f98e62307c899d8c0cbab3eb9254",
  ),
  "gaussian(per_channel=True)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "3ef9cb4de01d84f24c8696f6827bc7ce4b90eb989ac7df43b62b940792161771",
  ),
  "gaussian(per_channel=False)": (
    "5284b5db10305d087a985dc733b5293df66003086d3897b359f5953d9c7427ee",
    "0afab851c80cf17395f315f68230b815b9b8d2c774cd7dbb2c6b4828e2ce2f3c",
  ),
}

every_corruption = pytest.mark.parametrize("name", sorted(_KNOWN))
every_permutation = pytest.mark.parametrize("name", _PERMUTATIONS)


def _corruption(name):
  text = f"{name}({_ARGUMENTS.get(name, '')})"
  try:
    return specs.of_module(text, corruptions, "corruptions")
  except errors.ConfigError as error:
    raise AssertionError(
      f"give {name} its arguments in corruptions_test._ARGUMENTS: {error}"
    ) from error


def _apply(text, examples, context):
  call = specs.of_module(text, corruptions, "corruptions")
  corrupted, report = call(examples, context)
  return corrupted, report


def _context(data_seed=0, image_size=6, classes=10, shape=(8, 8, 3)):
  info = conftest.random_info(shape, classes)
  return example.Context(data_seed, info, image_size)


def _labelled(n, classes):
  """Many examples whose pixels do not matter."""
  label = (np.arange(n) * 7 % classes).astype(np.int32)
  ids = np.arange(n, dtype=np.uint64)
  return example.Example(ids, np.zeros((n, 8, 8, 3), np.uint8), label, label)


def _assert_equal(one, other):
  for field, a, b in zip(example.Example._fields, one, other, strict=True):
    np.testing.assert_array_equal(a, b, err_msg=field)
    assert a.dtype == b.dtype, field


def _differs(one, other):
  return one.shape != other.shape or not np.array_equal(one, other)


def _golden(text):
  # Inputs without a generator, whose numbers a NumPy version could change.
  n = 50
  ids = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
  label = (np.arange(n) % 10).astype(np.int32)
  image = (np.arange(n * 8 * 8 * 3) * 89 % 251).astype(np.uint8)
  examples = example.Example(ids, image.reshape(n, 8, 8, 3), label, label)
  corrupted, _ = _apply(text, examples, _context())
  return [
    hashlib.sha256(corrupted.label.astype("<i4").tobytes()).hexdigest(),
    hashlib.sha256(corrupted.image.tobytes()).hexdigest(),
  ]


@pytest.mark.parametrize("text", _GOLDEN)
def test_golden(text):
  assert _golden(text) == list(_GOLDEN[text])


@every_corruption
def test_there_is_a_golden_digest(name):
  assert str(_corruption(name)) in _GOLDEN, (
    f"add to corruptions_test._GOLDEN: {_golden(str(_corruption(name)))}"
  )


def test_another_process_with_other_settings_corrupts_alike():
  code = (
    "import json, jax, numpy as np; np.random.seed(7);"
    "from tests import corruptions_test as t;"
    "assert jax.config.jax_default_prng_impl == 'rbg';"
    "print(json.dumps({k: t._golden(k) for k in t._GOLDEN}))"
  )
  result = conftest.python(
    "-c",
    code,
    JAX_DEFAULT_PRNG_IMPL="rbg",
    JAX_ENABLE_X64="1",
    JAX_THREEFRY_PARTITIONABLE="0",
    PYTHONHASHSEED="12345",
  )
  assert result.returncode == 0, result.stderr
  assert json.loads(result.stdout) == {k: list(v) for k, v in _GOLDEN.items()}


def test_corruptions_do_without_jax():
  code = (
    "import sys, rethink.corruptions;"
    "assert not {'jax', 'tensorflow'} & set(sys.modules)"
  )
  result = conftest.python("-c", code)
  assert result.returncode == 0, result.stderr


@every_corruption
@pytest.mark.parametrize("size", [1, 7, 64])
def test_batches_do_not_matter(name, size):
  corruption, context = _corruption(name), _context()
  examples = conftest.random_examples(100)
  whole, _ = corruption(examples, context)
  parts = [
    corruption(examples.take(np.arange(start, min(start + size, 100))), context)
    for start in range(0, 100, size)
  ]
  fields = zip(*(part for part, _ in parts), strict=True)
  joined = [np.concatenate(field) for field in fields]
  _assert_equal(example.Example(*joined), whole)


@every_corruption
def test_order_and_company_do_not_matter(name):
  corruption, context = _corruption(name), _context()
  examples = conftest.random_examples(100)
  whole, _ = corruption(examples, context)
  for index in (np.arange(100)[::-1], np.arange(3, 100, 7), np.array([5, 5])):
    some, _ = corruption(examples.take(index), context)
    _assert_equal(some, whole.take(index))


@every_corruption
def test_a_block_boundary_does_not_matter(name, monkeypatch):
  corruption, context = _corruption(name), _context()
  examples = conftest.random_examples(100)
  whole, _ = corruption(examples, context)
  monkeypatch.setattr(corruptions, "_WORDS", 33 * 64)
  _assert_equal(corruption(examples, context)[0], whole)


@every_corruption
def test_it_is_fixed_over_epochs_and_global_generators(name):
  corruption, context = _corruption(name), _context()
  examples = conftest.random_examples(100)
  np.random.seed(0)
  first, report = corruption(examples, context)
  np.random.seed(1)
  again, report_again = corruption(examples, context)
  _assert_equal(first, again)
  assert report == report_again


@every_corruption
def test_the_input_is_left_alone(name):
  examples = conftest.random_examples(100)
  before = example.Example(*(field.copy() for field in examples))
  for field in examples:
    field.setflags(write=False)
  corrupted, _ = _corruption(name)(examples, _context())
  _assert_equal(examples, before)
  np.testing.assert_array_equal(corrupted.id, before.id)
  np.testing.assert_array_equal(corrupted.true_label, before.true_label)


@every_corruption
def test_either_labels_or_pixels_change(name):
  examples = conftest.random_examples(100)
  corrupted, _ = _corruption(name)(examples, _context(image_size=8))
  changed = (
    _differs(corrupted.label, examples.label),
    _differs(corrupted.image, examples.image),
  )
  assert sum(changed) == 1
  assert corrupted.label.dtype == np.int32
  assert corrupted.image.dtype == np.uint8


@pytest.mark.parametrize("text", _OF_LABELS)
def test_label_corruptions_leave_every_pixel(text):
  examples = conftest.random_examples(100)
  corrupted, _ = _apply(text, examples, _context())
  np.testing.assert_array_equal(corrupted.image, examples.image)
  assert _differs(corrupted.label, examples.label)


@every_corruption
def test_another_data_seed_corrupts_otherwise(name):
  examples = conftest.random_examples(100)
  one, _ = _corruption(name)(examples, _context(data_seed=0))
  two, _ = _corruption(name)(examples, _context(data_seed=1))
  assert _differs(one.label, two.label) or _differs(one.image, two.image)


@every_corruption
def test_the_report_is_json(name):
  _, report = _corruption(name)(conftest.random_examples(10), _context())
  assert json.loads(json.dumps(report, allow_nan=False)) == report


@every_corruption
def test_grey_images_are_corrupted_too(name):
  examples = conftest.random_examples(40, shape=(8, 8, 1))
  corrupted, _ = _corruption(name)(examples, _context(shape=(8, 8, 1)))
  assert corrupted.image.shape[-1] == 1
  assert _differs(corrupted.label, examples.label) or _differs(
    corrupted.image, examples.image
  )


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_fraction_p_of_1_minus_1_over_k_changes(p, classes):
  examples = _labelled(20_000, classes)
  corrupted, report = _apply(
    f"partially_corrupted_labels({p})", examples, _context(classes=classes)
  )
  expected = p * (1 - 1 / classes)
  sigma = math.sqrt(expected * (1 - expected) / len(examples.id))
  changed = np.mean(corrupted.label != examples.label)
  assert abs(changed - expected) <= 3 * sigma
  assert report["probability"] == p
  assert 0 <= corrupted.label.min() and corrupted.label.max() < classes


def test_what_is_corrupted_stays_corrupted_alike_as_p_grows():
  examples, context = _labelled(5_000, 10), _context()
  before = examples.label
  for p in (0.1, 0.2, 0.5, 0.8, 1.0):
    after = _apply(f"partially_corrupted_labels({p})", examples, context)[
      0
    ].label
    was_changed = before != examples.label
    np.testing.assert_array_equal(after[was_changed], before[was_changed])
    assert np.mean(after != examples.label) > np.mean(was_changed)
    before = after
  random = _apply("random_labels()", examples, context)[0].label
  np.testing.assert_array_equal(random, before)


def _chi2_bound(free):
  return free + 4 * math.sqrt(2 * free)


def _chi2(values, classes):
  counts = np.bincount(values, minlength=classes)
  expected = len(values) / classes
  return ((counts - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_random_labels_are_uniform(classes):
  examples = _labelled(20_000, classes)
  corrupted, _ = _apply("random_labels()", examples, _context(classes=classes))
  assert _chi2(corrupted.label, classes) < _chi2_bound(classes - 1)


def test_the_new_class_does_not_depend_on_the_old_one():
  examples = _labelled(20_000, 10)
  corrupted, _ = _apply("partially_corrupted_labels(0.5)", examples, _context())
  step = (corrupted.label - examples.label) % 10
  assert _chi2(step[step > 0] - 1, 9) < _chi2_bound(8)
  pairs = examples.label[step > 0] * 9 + step[step > 0] - 1
  assert _chi2(pairs, 90) < _chi2_bound(89)


@pytest.mark.parametrize("p", [-0.1, 1.1, 30])
def test_what_is_no_probability_is_refused(p):
  with pytest.raises(errors.ConfigError, match="p must lie in"):
    _apply(f"partially_corrupted_labels({p})", _labelled(5, 10), _context())


def _sorted_colours(image):
  """The pixels of every image as one number each, sorted."""
  flat = image.reshape(len(image), -1, 3).astype(np.int64)
  return np.sort(flat @ np.array([1, 256, 65536]), axis=1)


@every_permutation
@pytest.mark.parametrize("after_crop", [True, False])
def test_channels_that_move_together_keep_every_colour(name, after_crop):
  examples = conftest.random_examples(50)
  text = f"{name}(after_crop={after_crop})"
  corrupted, _ = _apply(text, examples, _context(image_size=6))
  size = 6 if after_crop else 8
  assert corrupted.image.shape == (50, size, size, 3)
  expected = example.center_crop(examples.image, size)
  np.testing.assert_array_equal(
    _sorted_colours(corrupted.image), _sorted_colours(expected)
  )
  assert (corrupted.image != expected).any(axis=(1, 2, 3)).all()
  np.testing.assert_array_equal(corrupted.label, examples.label)


@every_permutation
def test_channels_that_move_apart_keep_the_values_of_each(name):
  examples = conftest.random_examples(50)
  text = f"{name}(channels_together=False)"
  corrupted, _ = _apply(text, examples, _context(image_size=8))
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
  context = _context(image_size=8)
  train, _ = _apply(text, _places(50, 0), context)
  test, _ = _apply(text, _places(20, 1000), context)
  assert len(np.unique(train.image.reshape(50, -1), axis=0)) == 1
  np.testing.assert_array_equal(train.image[0], test.image[0])
  channels = np.unique(train.image[0].reshape(-1, 3).T, axis=0)
  assert len(channels) == (1 if together else 3)


@pytest.mark.parametrize("together", [True, False])
def test_random_pixels_move_otherwise_in_every_image(together):
  text = f"random_pixels(channels_together={together})"
  moved, _ = _apply(text, _places(50, 0), _context(image_size=8))
  rows = moved.image.transpose(0, 3, 1, 2).reshape(50, 3, 64)
  channels = 1 if together else 3
  assert len(np.unique(rows.reshape(-1, 64), axis=0)) == 50 * channels


@every_permutation
def test_every_pixel_may_go_anywhere(name):
  counts = np.zeros(64, int)
  for data_seed in range(400 if name == "shuffled_pixels" else 1):
    n = 1 if name == "shuffled_pixels" else 400
    moved, _ = _apply(
      f"{name}()", _places(n, 0), _context(data_seed, image_size=8)
    )
    counts += np.bincount(moved.image[:, 0, 0, 0], minlength=64)
  assert counts.sum() == 400
  assert ((counts - 400 / 64) ** 2 / (400 / 64)).sum() < _chi2_bound(63)


def _with_moments(mean, std):
  context = _context()
  info = context.info._replace(mean=tuple(mean), std=tuple(std))
  return context._replace(info=info)


def test_gaussian_images_have_the_moments_of_the_training_set():
  mean, std = (100.0, 128.0, 150.0), (10.0, 20.0, 24.0)
  examples = conftest.random_examples(400)
  noise, report = _apply("gaussian()", examples, _with_moments(mean, std))
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
  noise, _ = _apply(
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
  assert chi2 < _chi2_bound(len(expected) - 1)


def test_gaussian_pixels_are_independent():
  noise, _ = _apply(
    "gaussian()",
    conftest.random_examples(2000, shape=(2, 2, 3)),
    _with_moments([128.0] * 3, [24.0] * 3),
  )
  correlation = np.corrcoef(noise.image.reshape(2000, -1).T) - np.eye(12)
  assert np.abs(correlation).max() < 4 / np.sqrt(2000)


def test_gaussian_reports_what_clipping_does():
  context = _with_moments([5.0, 128.0, 250.0], [60.0, 30.0, 60.0])
  noise, report = _apply("gaussian()", conftest.random_examples(200), context)
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
  _, report = _apply(
    "gaussian(per_channel=False)", conftest.random_examples(10), context
  )
  np.testing.assert_allclose(report["requested_mean"], images.mean(), atol=1e-4)
  np.testing.assert_allclose(report["requested_std"], images.std(), atol=1e-4)


def test_a_channel_without_variance_stays_constant():
  context = _with_moments([7.0, 128.0, 255.0], [0.0, 20.0, 0.0])
  noise, _ = _apply("gaussian()", conftest.random_examples(20), context)
  assert (noise.image[..., 0] == 7).all()
  assert (noise.image[..., 2] == 255).all()
  assert len(np.unique(noise.image[..., 1])) > 50


@pytest.mark.parametrize(
  "pixels", ["gaussian()", "shuffled_pixels()", "random_pixels()"]
)
@pytest.mark.parametrize("labels", _OF_LABELS)
def test_labels_and_pixels_are_corrupted_in_either_order(labels, pixels):
  examples, context = conftest.random_examples(80), _context()
  one, _ = _apply(pixels, _apply(labels, examples, context)[0], context)
  two, _ = _apply(labels, _apply(pixels, examples, context)[0], context)
  _assert_equal(one, two)


def test_different_corruptions_use_different_streams(monkeypatch):
  drawn = {}
  original = bits.bits

  def recorded(seed, tag, ids, words=1):
    drawn.setdefault(name, set()).add(tag)
    return original(seed, tag, ids, words)

  monkeypatch.setattr(bits, "bits", recorded)
  for name in _KNOWN:
    _corruption(name)(conftest.random_examples(5), _context())
  assert drawn.pop("random_labels") == drawn["partially_corrupted_labels"]
  tags = [tag for group in drawn.values() for tag in group]
  assert len(tags) == len(set(tags)) >= 5
