import hashlib
import json
import math
from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats

from rethink import bits, corruptions, errors, example, specs
from rethink.corrupting import instance_noise, kinds, permutations, transitions
from tests import conftest

_KNOWN = specs.public(corruptions)
# Labels of a file are not drawn: tests/label_files_test.py.
_DRAWN = sorted(_KNOWN.keys() - {"labels_from_file"})
# Of those that have no default for every argument.
_ARGUMENTS = {
  "partially_corrupted_labels": "p=0.3",
  "class_dependent_labels": "to={3: 5, 5: 3, 1: 7}, p=0.5",
  "instance_dependent_labels": "p=0.4",
}
_OF_LABELS = (
  "partially_corrupted_labels(0.3)",
  "random_labels()",
  "permuted_labels()",
  "class_dependent_labels({3: 5, 5: 3})",
)
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
  "permuted_labels(p=1.0)": (
    "804588d68a7a11d57f5be259bd4f881da458440ae960847eeb7be1bc47fe2cb0",
    "a6a40c2954a15f0c17dff066b87f827d82c9ad78b51021cf7109b7c3acf65a1d",
  ),
  "class_dependent_labels(to=((1, 7), (3, 5), (5, 3)), p=0.5)": (
    "9c2819cbeea25c99251ef8854acc8d021af08956f1118e6084b4b47ab016e925",
    "a6a40c2954a15f0c17dff066b87f827d82c9ad78b51021cf7109b7c3acf65a1d",
  ),
  "instance_dependent_labels(p=0.4)": (
    "754c44073af7aaec07997afc0e1d3b360b7b4544ce84597ff3969a292066e2f7",
    "a6a40c2954a15f0c17dff066b87f827d82c9ad78b51021cf7109b7c3acf65a1d",
  ),
}

every_corruption = pytest.mark.parametrize("name", _DRAWN)
every_permutation = pytest.mark.parametrize("name", _PERMUTATIONS)


def _corruption(name):
  text = f"{name}({_ARGUMENTS.get(name, '')})"
  try:
    return _Corruption(specs.of_module(text, corruptions, "corruptions"))
  except errors.ConfigError as error:
    raise AssertionError(
      f"give {name} its arguments in corruptions_test._ARGUMENTS: {error}"
    ) from error


class _Corruption(NamedTuple):
  """A corruption of either kind as a function of examples."""

  call: specs.Call

  def __str__(self):
    return str(self.call)

  def __call__(self, examples, context):
    """Applies it; all examples are the split if the context has none."""
    if not len(context.split.id):
      context = _of_split(context, examples)
    ids, image, label, _ = examples
    given = {"ids": ids, "images": image, "labels": label, "context": context}
    kind = kinds.kind(self.call)
    changed, report = self.call(*(given[name] for name in kind.value))
    if kind is kinds.Kind.PIXELS:
      return examples._replace(image=changed), report
    return examples._replace(label=changed.astype(np.int32)), report


def _of_split(context, examples, training=True):
  order = np.argsort(examples.id)
  ids, label = examples.id[order], examples.label[order]
  split = example.Split("train", training, ids, label, ids)
  return context._replace(split=split)


def _apply(text, examples, context):
  call = specs.of_module(text, corruptions, "corruptions")
  return _Corruption(call)(examples, context)


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
  examples = conftest.random_examples(100)
  corruption, context = _corruption(name), _of_split(_context(), examples)
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
  examples = conftest.random_examples(100)
  corruption, context = _corruption(name), _of_split(_context(), examples)
  whole, _ = corruption(examples, context)
  for index in (np.arange(100)[::-1], np.arange(3, 100, 7), np.array([5, 5])):
    some, _ = corruption(examples.take(index), context)
    _assert_equal(some, whole.take(index))


@every_corruption
def test_a_block_boundary_does_not_matter(name, monkeypatch):
  corruption, context = _corruption(name), _context()
  examples = conftest.random_examples(100)
  whole, _ = corruption(examples, context)
  monkeypatch.setattr(permutations, "_WORDS", 33 * 64)
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
  for name in _DRAWN:
    _corruption(name)(conftest.random_examples(5), _context())
  assert drawn.pop("random_labels") == drawn["partially_corrupted_labels"]
  tags = [tag for group in drawn.values() for tag in group]
  assert len(tags) == len(set(tags)) >= 5


# Permuted labels.


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_permuted_labels_keep_class_counts(p):
  examples = conftest.random_examples(3000)
  corrupted, report = _apply(f"permuted_labels({p})", examples, _context())
  counts = np.bincount(examples.label, minlength=10)
  np.testing.assert_array_equal(
    np.bincount(corrupted.label, minlength=10), counts
  )
  changed = np.mean(corrupted.label != examples.label)
  expected = p * (1 - ((counts / 3000) ** 2).sum())
  assert abs(changed - expected) <= 4 * math.sqrt(0.25 / 3000) * (p > 0)
  assert report == {"probability": p}


def test_a_label_may_come_from_any_example():
  label = np.arange(20, dtype=np.int32)
  ids = np.arange(100, 120, dtype=np.uint64)
  image = np.zeros((20, 1, 1, 1), np.uint8)
  examples = example.Example(ids, image, label, label)
  counts = np.zeros(20, int)
  for data_seed in range(400):
    context = _context(data_seed, classes=20)
    after = _apply("permuted_labels()", examples, context)[0].label
    assert sorted(after) == list(range(20))
    counts[after[7]] += 1
  assert ((counts - 20) ** 2 / 20).sum() < _chi2_bound(19)


def test_permuted_labels_are_those_that_corruptions_before_left():
  examples, context = conftest.random_examples(500), _context()
  before, _ = _apply("class_dependent_labels({3: 5})", examples, context)
  after, _ = _apply("permuted_labels()", before, context)
  assert not (after.label == 3).any()
  assert (after.label == 5).sum() == np.isin(examples.label, (3, 5)).sum()


# Class-dependent labels.

_MATRIX = (
  (0.7, 0.3, 0.0, 0.0),
  (0.0, 1.0, 0.0, 0.0),
  (0.1, 0.2, 0.3, 0.4),
  (0.0, 0.5, 0.5, 0.0),
)


@pytest.mark.parametrize("p", [0.6, 1.0])
def test_a_matrix_gives_its_confusion_matrix(p):
  examples = _labelled(20_000, 4)
  text = f"class_dependent_labels({_MATRIX}, {p})"
  corrupted, report = _apply(text, examples, _context(classes=4))
  assert report == {"probability": p}
  expected = (1 - p) * np.eye(4) + p * np.array(_MATRIX)
  for old in range(4):
    new = corrupted.label[examples.label == old]
    found = np.bincount(new, minlength=4) / len(new)
    sigma = np.sqrt(expected[old] * (1 - expected[old]) / len(new))
    assert (np.abs(found - expected[old]) <= 4 * sigma).all()


def test_class_dependent_labels_are_those_of_a_loop():
  examples, p = conftest.random_examples(300, classes=4), 0.6
  text = f"class_dependent_labels({_MATRIX}, {p})"
  corrupted, _ = _apply(text, examples, _context(5, classes=4))

  def uniform(tag):
    return bits.uniform(bits.bits(5, f"class_dependent/{tag}", examples.id))

  for coin, draw, old, new in zip(
    uniform("coin"),
    uniform("class"),
    examples.label,
    corrupted.label,
    strict=True,
  ):
    if coin >= p:
      assert new == old
    else:
      below = sum(_MATRIX[old][:new])
      assert below <= draw < below + _MATRIX[old][new]


@pytest.mark.parametrize("pairs", ["{3: 5, 5: 3}", "((5, 3), (3, 5))"])
def test_pairs_change_their_classes_alone(pairs):
  examples = conftest.random_examples(4000)
  text = f"class_dependent_labels({pairs}, 0.4)"
  corrupted, _ = _apply(text, examples, _context())
  changed = corrupted.label != examples.label
  assert not changed[~np.isin(examples.label, (3, 5))].any()
  for old, new in ((3, 5), (5, 3)):
    of_class = examples.label == old
    assert (corrupted.label[of_class & changed] == new).all()
    sigma = math.sqrt(0.24 / of_class.sum())
    assert abs(changed[of_class].mean() - 0.4) < 4 * sigma


def test_class_dependent_labels_are_nested_in_p():
  examples, context = _labelled(5_000, 4), _context(classes=4)
  before = examples.label
  for p in (0.2, 0.6, 1.0):
    text = f"class_dependent_labels({_MATRIX}, {p})"
    after = _apply(text, examples, context)[0].label
    was_changed = before != examples.label
    np.testing.assert_array_equal(after[was_changed], before[was_changed])
    before = after


@pytest.mark.parametrize(
  ("to", "said"),
  [
    ((), "a matrix has 4 rows, one for each class, not 0"),
    (_MATRIX[:3], "a matrix has 4 rows, one for each class, not 3"),
    ((*_MATRIX[:3], (0.5, 0.5)), "row 3 is .* 4 probabilities"),
    ((*_MATRIX[:3], (0.5, 0.6, 0.0, 0.0)), "row 3 is .* with the sum 1"),
    ((*_MATRIX[:3], (1.5, -0.5, 0.0, 0.0)), "row 3 is"),
    ((*_MATRIX[:3], ("a", 0.5, 0.5, 0.0)), "row 3 is"),
    ((1.0, 0.0), "1.0 is no row of a matrix and no pair"),
    (((3, 5),), r"\(3, 5\) is no pair of classes from 0 to 3"),
    (((-1, 2),), r"\(-1, 2\) is no pair"),
    (((1, 0, 0, 0),) * 4, "written as floats"),
    (((1, 2), (1, 3)), "class 1 stands in front of two pairs"),
  ],
)
def test_what_is_no_matrix_and_no_pairs_is_refused(to, said):
  with pytest.raises(errors.ConfigError, match=said):
    transitions.rows(to, 4)


# Instance-dependent labels.


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.95])
def test_flip_rates_are_of_a_truncated_normal_distribution(p):
  ids = np.arange(20_000, dtype=np.uint64)
  rates = instance_noise.rates(3, ids, p)
  expected = scipy.stats.truncnorm(-p / 0.1, (1 - p) / 0.1, loc=p, scale=0.1)
  assert scipy.stats.kstest(rates, expected.cdf).pvalue > 1e-3
  assert 0 <= rates.min() and rates.max() <= 1
  assert (rates <= instance_noise.rates(3, ids, min(1.0, p + 0.01))).all()


def test_directions_are_normal():
  drawn = instance_noise.directions(0, 3, 64, 3, 100).ravel() / 32
  assert abs(drawn.mean()) < 4 / math.sqrt(drawn.size)
  assert abs(drawn.std() - 1) < 4 / math.sqrt(2 * drawn.size)
  other = instance_noise.directions(0, 4, 64, 3, 100).ravel() / 32
  assert abs(np.corrcoef(drawn, other)[0, 1]) < 4 / math.sqrt(drawn.size)


def _by_loops(examples, context, p):
  """Xia et al. (2020), one example and one class after the other."""
  seed, info = context.data_seed, context.info
  classes, mean, std = info.num_classes, np.array(info.mean), np.array(info.std)
  uniform = [
    bits.uniform(bits.bits(seed, f"instance/{tag}", examples.id)[:, 0])
    for tag in ("rate", "coin", "class")
  ]
  truncated = scipy.stats.truncnorm(-p / 0.1, (1 - p) / 0.1, loc=p, scale=0.1)
  labels = []
  for i, (image, y) in enumerate(
    zip(examples.image, examples.label, strict=True)
  ):
    x = ((image - mean) / std).reshape(-1)
    w = instance_noise.directions(
      seed, int(y), image[..., 0].size, len(mean), classes
    )
    a = [x @ (w[:, :, j].reshape(-1) / 32) for j in range(classes)]
    a[y] = -math.inf
    softmax = np.exp(np.array(a) - max(a)) / np.exp(np.array(a) - max(a)).sum()
    q = truncated.ppf(uniform[0][i])
    new = y
    if uniform[1][i] < q:
      new = int((np.cumsum(softmax) <= uniform[2][i]).sum())
    labels.append(new)
  return np.array(labels)


@pytest.mark.parametrize("shape", [(4, 4, 3), (5, 2, 1)])
def test_instance_dependent_labels_are_those_of_loops(shape):
  examples = conftest.random_examples(300, shape=shape, classes=6)
  context = _context(11, classes=6, shape=shape)
  corrupted, report = _apply(
    "instance_dependent_labels(0.6)", examples, context
  )
  np.testing.assert_array_equal(
    corrupted.label, _by_loops(examples, context, 0.6)
  )
  assert report == {"probability": 0.6}


def test_labels_of_an_image_change_as_its_softmax_says():
  n, p, shape = 20_000, 0.4, (1, 2, 1)
  ids = np.arange(n, dtype=np.uint64)
  image = np.broadcast_to(np.uint8([150, 90]).reshape(shape), (n, *shape))
  label = np.full(n, 2, np.int32)
  context = _context(1, classes=4, shape=shape)
  examples = example.Example(ids, image, label, label)
  after = _apply(f"instance_dependent_labels({p})", examples, context)[0].label
  x = (np.array([150.0, 90.0]) - context.info.mean[0]) / context.info.std[0]
  a = x @ (instance_noise.directions(1, 2, 2, 1, 4)[:, 0] / 32)
  weights = np.exp(np.delete(a, 2))
  expected = np.insert(p * weights / weights.sum(), 2, 1 - p)
  found = np.bincount(after, minlength=4) / n
  sigma = np.sqrt(expected * (1 - expected) / n)
  assert (np.abs(found - expected) < 4 * sigma).all()


def test_instance_dependent_labels_are_nested_in_p():
  examples, context = conftest.random_examples(2000), _context()
  before = examples.label
  for p in (0.1, 0.4, 0.9):
    text = f"instance_dependent_labels({p})"
    after = _apply(text, examples, context)[0].label
    was_changed = before != examples.label
    np.testing.assert_array_equal(after[was_changed], before[was_changed])
    assert abs(np.mean(after != examples.label) - p) < 0.05
    before = after


def test_a_channel_that_never_varies_says_nothing():
  examples, context = conftest.random_examples(50), _context()
  info = context.info._replace(std=(60.0, 0.0, 40.0))
  other = examples.image.copy()
  other[..., 1] = 0
  found = [
    _apply("instance_dependent_labels(1)", some, context._replace(info=info))[0]
    for some in (examples, examples._replace(image=other))
  ]
  np.testing.assert_array_equal(found[0].label, found[1].label)


def test_too_many_directions_are_refused():
  context = _context(classes=1000, shape=(64, 64, 3))
  examples = conftest.random_examples(2, shape=(64, 64, 3))
  with pytest.raises(errors.ConfigError, match="12,288,000,000 numbers"):
    _apply("instance_dependent_labels(1)", examples, context)
