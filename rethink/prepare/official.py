"""Prepares the paper's small data sets exactly as TFDS's own builders do.

Name, version, features and description come from the installed TFDS. The
archives are read by our own code, which needs no TensorFlow. Ids, labels,
pixels and the order of the records equal those of TFDS's builders, because both
shuffle by a hash of the same keys.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from rethink.prepare import archives, cifar, exclusive, mnist, writer

CONTENT: Mapping[str, Callable[[Mapping[str, bytes]], writer.Content]] = {
  "mnist": mnist.content,
  "fashion_mnist": mnist.content,
  "cifar10": cifar.cifar10,
  "cifar100": cifar.cifar100,
}


def prepare(name: str, data_dir: str, directory: str | None) -> pathlib.Path:
  """Writes a data set unless it exists already; returns the folder.

  An existing one is accepted, because the content of an official data set is
  fixed.

  Args:
    name: a key of CONTENT.
    data_dir: folder of the prepared data sets.
    directory: folder with the official archives; None downloads them.

  Raises:
    DataError: if an archive is missing or changed, or the data set cannot be
      written.
  """
  import tensorflow_datasets as tfds

  stock: Any = tfds.builder_cls(name)
  root = pathlib.Path(data_dir).expanduser()
  folder = root / name / str(stock.VERSION)
  if folder.exists():  # before locking: a read-only disk takes no lock
    return folder
  with exclusive.one_preparer(name, data_dir):
    if not folder.exists():
      content = CONTENT[name](archives.read(name, directory, data_dir))
      writer.build(_builder(stock, content), data_dir)
  return folder


def _builder(stock: Any, content: writer.Content):
  class Builder(stock, skip_registration=True):  # pyright: ignore
    def _split_generators(self, dl_manager):
      del dl_manager
      for key, names in content.class_names.items():
        self.info.features[key].names = names
      return {
        split: self._generate_examples(examples)
        for split, examples in content.splits.items()
      }

    def _generate_examples(self, examples):
      yield from enumerate(examples)

  Builder.name = stock.name
  return Builder
