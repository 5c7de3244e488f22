"""Examples, contexts and calls for the tests of corruptions."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from rethink import corruptions, errors, example, specs
from rethink.corrupting import kinds
from tests import conftest

KNOWN = specs.public(corruptions)

# Labels of a file are not drawn: tests/label_files_test.py.
DRAWN = sorted(KNOWN.keys() - {"labels_from_file"})

# Of those that have no default for every argument.
ARGUMENTS = {
  "partially_corrupted_labels": "p=0.3",
  "class_dependent_labels": "to={3: 5, 5: 3, 1: 7}, p=0.5",
  "instance_dependent_labels": "p=0.4",
}

OF_LABELS = (
  "partially_corrupted_labels(0.3)",
  "random_labels()",
  "permuted_labels()",
  "class_dependent_labels({3: 5, 5: 3})",
)

PERMUTATIONS = ("shuffled_pixels", "random_pixels")

every_corruption = pytest.mark.parametrize("name", DRAWN)

every_permutation = pytest.mark.parametrize("name", PERMUTATIONS)


def corruption(name):
  text = f"{name}({ARGUMENTS.get(name, '')})"
  try:
    return Corruption(specs.of_module(text, corruptions, "corruptions"))
  except errors.ConfigError as error:
    raise AssertionError(
      f"give {name} its arguments in corruption_cases.ARGUMENTS: {error}"
    ) from error


class Corruption(NamedTuple):
  """A corruption of either kind as a function of examples."""

  call: specs.Call

  def __str__(self):
    return str(self.call)

  def __call__(self, examples, context):
    """Applies it; all examples are the split if the context has none."""
    if not len(context.split.id):
      context = of_split(context, examples)
    ids, image, label, _ = examples
    given = {"ids": ids, "images": image, "labels": label, "context": context}
    kind = kinds.kind(self.call)
    changed, report = self.call(*(given[name] for name in kind.value))
    if kind is kinds.Kind.PIXELS:
      return examples._replace(image=changed), report
    return examples._replace(label=changed.astype(np.int32)), report


def of_split(context, examples, training=True):
  order = np.argsort(examples.id)
  ids, label = examples.id[order], examples.label[order]
  split = example.Split("train", training, ids, label, ids)
  return context._replace(split=split)


def apply(text, examples, context):
  call = specs.of_module(text, corruptions, "corruptions")
  return Corruption(call)(examples, context)


def context(data_seed=0, image_size=6, classes=10, shape=(8, 8, 3)):
  info = conftest.random_info(shape, classes)
  return example.Context(data_seed, info, image_size)


def labelled(n, classes):
  """Many examples whose pixels do not matter."""
  label = (np.arange(n) * 7 % classes).astype(np.int32)
  ids = np.arange(n, dtype=np.uint64)
  return example.Example(ids, np.zeros((n, 8, 8, 3), np.uint8), label, label)


def assert_equal(one, other):
  for field, a, b in zip(example.Example._fields, one, other, strict=True):
    np.testing.assert_array_equal(a, b, err_msg=field)
    assert a.dtype == b.dtype, field


def differs(one, other):
  return one.shape != other.shape or not np.array_equal(one, other)


def chi2_bound(free):
  return free + 4 * math.sqrt(2 * free)
