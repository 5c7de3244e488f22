"""Properties that hold for every corruption."""

import hashlib
import json

import numpy as np
import pytest

from rethink import bits, example
from rethink.corrupting import permutations
from tests import conftest
from tests import corruption_cases as cases

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


def _golden(text):
  # Inputs without a generator, whose numbers a NumPy version could change.
  n = 50
  ids = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
  label = (np.arange(n) % 10).astype(np.int32)
  image = (np.arange(n * 8 * 8 * 3) * 89 % 251).astype(np.uint8)
  examples = example.Example(ids, image.reshape(n, 8, 8, 3), label, label)
  corrupted, _ = cases.apply(text, examples, cases.context())
  return [
    hashlib.sha256(corrupted.label.astype("<i4").tobytes()).hexdigest(),
    hashlib.sha256(corrupted.image.tobytes()).hexdigest(),
  ]


@pytest.mark.parametrize("text", _GOLDEN)
def test_golden(text):
  assert _golden(text) == list(_GOLDEN[text])


@cases.every_corruption
def test_there_is_a_golden_digest(name):
  assert str(cases.corruption(name)) in _GOLDEN, (
    f"add to corruptions_test._GOLDEN: {_golden(str(cases.corruption(name)))}"
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


@cases.every_corruption
@pytest.mark.parametrize("size", [1, 7, 64])
def test_batches_do_not_matter(name, size):
  examples = conftest.random_examples(100)
  corruption, context = (
    cases.corruption(name),
    cases.of_split(cases.context(), examples),
  )
  whole, _ = corruption(examples, context)
  parts = [
    corruption(examples.take(np.arange(start, min(start + size, 100))), context)
    for start in range(0, 100, size)
  ]
  fields = zip(*(part for part, _ in parts), strict=True)
  joined = [np.concatenate(field) for field in fields]
  cases.assert_equal(example.Example(*joined), whole)


@cases.every_corruption
def test_order_and_company_do_not_matter(name):
  examples = conftest.random_examples(100)
  corruption, context = (
    cases.corruption(name),
    cases.of_split(cases.context(), examples),
  )
  whole, _ = corruption(examples, context)
  for index in (np.arange(100)[::-1], np.arange(3, 100, 7), np.array([5, 5])):
    some, _ = corruption(examples.take(index), context)
    cases.assert_equal(some, whole.take(index))


@cases.every_corruption
def test_a_block_boundary_does_not_matter(name, monkeypatch):
  corruption, context = cases.corruption(name), cases.context()
  examples = conftest.random_examples(100)
  whole, _ = corruption(examples, context)
  monkeypatch.setattr(permutations, "_WORDS", 33 * 64)
  cases.assert_equal(corruption(examples, context)[0], whole)


@cases.every_corruption
def test_it_is_fixed_over_epochs_and_global_generators(name):
  corruption, context = cases.corruption(name), cases.context()
  examples = conftest.random_examples(100)
  np.random.seed(0)
  first, report = corruption(examples, context)
  np.random.seed(1)
  again, report_again = corruption(examples, context)
  cases.assert_equal(first, again)
  assert report == report_again


@cases.every_corruption
def test_the_input_is_left_alone(name):
  examples = conftest.random_examples(100)
  before = example.Example(*(field.copy() for field in examples))
  for field in examples:
    field.setflags(write=False)
  corrupted, _ = cases.corruption(name)(examples, cases.context())
  cases.assert_equal(examples, before)
  np.testing.assert_array_equal(corrupted.id, before.id)
  np.testing.assert_array_equal(corrupted.true_label, before.true_label)


@cases.every_corruption
def test_either_labels_or_pixels_change(name):
  examples = conftest.random_examples(100)
  corrupted, _ = cases.corruption(name)(examples, cases.context(image_size=8))
  changed = (
    cases.differs(corrupted.label, examples.label),
    cases.differs(corrupted.image, examples.image),
  )
  assert sum(changed) == 1
  assert corrupted.label.dtype == np.int32
  assert corrupted.image.dtype == np.uint8


@pytest.mark.parametrize("text", cases.OF_LABELS)
def test_label_corruptions_leave_every_pixel(text):
  examples = conftest.random_examples(100)
  corrupted, _ = cases.apply(text, examples, cases.context())
  np.testing.assert_array_equal(corrupted.image, examples.image)
  assert cases.differs(corrupted.label, examples.label)


@cases.every_corruption
def test_another_data_seed_corrupts_otherwise(name):
  examples = conftest.random_examples(100)
  one, _ = cases.corruption(name)(examples, cases.context(data_seed=0))
  two, _ = cases.corruption(name)(examples, cases.context(data_seed=1))
  assert cases.differs(one.label, two.label) or cases.differs(
    one.image, two.image
  )


@cases.every_corruption
def test_the_report_is_json(name):
  _, report = cases.corruption(name)(
    conftest.random_examples(10), cases.context()
  )
  assert json.loads(json.dumps(report, allow_nan=False)) == report


@cases.every_corruption
def test_grey_images_are_corrupted_too(name):
  examples = conftest.random_examples(40, shape=(8, 8, 1))
  corrupted, _ = cases.corruption(name)(
    examples, cases.context(shape=(8, 8, 1))
  )
  assert corrupted.image.shape[-1] == 1
  assert cases.differs(corrupted.label, examples.label) or cases.differs(
    corrupted.image, examples.image
  )


@pytest.mark.parametrize(
  "pixels", ["gaussian()", "shuffled_pixels()", "random_pixels()"]
)
@pytest.mark.parametrize("labels", cases.OF_LABELS)
def test_labels_and_pixels_are_corrupted_in_either_order(labels, pixels):
  examples, context = conftest.random_examples(80), cases.context()
  one, _ = cases.apply(
    pixels, cases.apply(labels, examples, context)[0], context
  )
  two, _ = cases.apply(
    labels, cases.apply(pixels, examples, context)[0], context
  )
  cases.assert_equal(one, two)


def test_different_corruptions_use_different_streams(monkeypatch):
  drawn = {}
  original = bits.bits

  def recorded(seed, tag, ids, words=1):
    drawn.setdefault(name, set()).add(tag)
    return original(seed, tag, ids, words)

  monkeypatch.setattr(bits, "bits", recorded)
  for name in cases.DRAWN:
    cases.corruption(name)(conftest.random_examples(5), cases.context())
  assert drawn.pop("random_labels") == drawn["partially_corrupted_labels"]
  tags = [tag for group in drawn.values() for tag in group]
  assert len(tags) == len(set(tags)) >= 5
