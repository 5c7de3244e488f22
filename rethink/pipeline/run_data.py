"""The data of a run: loaded, reduced to a subset, corrupted."""

from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from rethink import errors, example, specs
from rethink.corrupting import kinds
from rethink.pipeline import datasets
from rethink.storage import runs


class RunData[Examples: (example.Example, example.Labels)](NamedTuple):
  """The examples of a run; on the stream path without their images.

  Attributes:
    info: the data set before subsets and corruptions.
    train: `label` is what the model is asked to learn.
    test: `label` is corrupted like the training labels, `true_label` clean.
    report: what the corruptions did; JSON values.
    skipped: a line for each damaged record that was left out.
  """

  info: example.DatasetInfo
  train: Examples
  test: Examples
  report: dict[str, Any]
  skipped: tuple[str, ...]

  @property
  def sizes(self) -> dict[str, Any]:
    """The entry of status.json about the examples."""
    return {
      "train": len(self.train.id),
      "test": len(self.test.id),
      "skipped": list(self.skipped),
    }


class Asked(Protocol):
  """The part of a run's settings that loading its data needs."""

  @property
  def config(self) -> Any: ...
  @property
  def corruptions(self) -> tuple[specs.Call, ...]: ...


def load_for_run(
  asked: Asked, run: runs.Run, data_dir: str
) -> RunData[example.Example]:
  """Loads the data of a run, binds it to them and says so in status.json.

  Raises:
    DataError: if data are missing or damaged.
    ConfigError: as `load`, or if the run was started on other data.
  """
  loaded = load(asked, data_dir)
  bind(run, loaded)
  return loaded


def bind(run: runs.Run, loaded: RunData) -> None:
  """Binds a run to its data and says so in status.json.

  Raises:
    ConfigError: if the run was started on other data.
  """
  info = loaded.info
  run.check_data({"name": info.name, "fingerprint": info.fingerprint})
  run.update(
    device=jax.devices()[0].device_kind,
    devices=jax.device_count(),
    processes=jax.process_count(),
    backend=jax.default_backend(),
    data=loaded.sizes,
    corruption=loaded.report,
  )


def load(run: Asked, data_dir: str) -> RunData[example.Example]:
  """Loads the data of a run.

  Raises:
    DataError: if data are missing or damaged.
    ConfigError: if split, subset or image size do not fit the data set.
  """
  config = run.config
  dataset = datasets.load(
    config.dataset, data_dir, skip_damaged=config.skip_damaged
  )
  info = dataset.info
  for field in ("train_split", "test_split"):
    if config[field] not in dataset.splits:
      raise errors.ConfigError(
        f"config.{field}: {info.name} has no split {config[field]!r};"
        f" there are: {', '.join(dataset.splits)}"
      )
  if config.image_size > min(info.shape[:2]):
    raise errors.ConfigError(
      f"config.image_size is {config.image_size}, but the images of"
      f" {info.name} have {info.shape[0]}x{info.shape[1]} pixels"
    )
  train = dataset.splits[config.train_split]
  if config.train_examples:
    train = part(train, config.train_examples, config, info)
  test = dataset.splits[config.test_split]
  context = example.Context(config.data_seed, info, config.image_size)

  def split(
    name: str, examples: example.Example, training: bool
  ) -> tuple[example.Split, kinds.Images]:
    stored, names = dataset.splits[name].id, dataset.names[name]
    known = example.Split(
      name,
      training,
      examples.id,
      examples.label,
      stored,
      lambda ids: names[np.searchsorted(stored, ids)].tolist(),
    )
    return known, lambda rows: examples.image[rows]

  labels = corrupt_labels(
    run,
    context,
    split(config.train_split, train, True),
    split(config.test_split, test, False),
    dataset.skipped,
  )
  train_image, test_image = train.image, test.image
  for corruption, stated in zip(
    run.corruptions, labels.report["corruptions"], strict=True
  ):
    if kinds.kind(corruption) is kinds.Kind.PIXELS:
      train_image, facts = kinds.corrupt_images(
        corruption, train.id, train_image, context
      )
      test_image, _ = kinds.corrupt_images(
        corruption, test.id, test_image, context
      )
      stated.update(facts)
  return RunData(
    info,
    train._replace(image=train_image, label=labels.train.label),
    test._replace(image=test_image, label=labels.test.label),
    labels.report,
    dataset.skipped,
  )


def part[Examples: (example.Example, example.Labels)](
  examples: Examples, n: int, config: Any, info: example.DatasetInfo
) -> Examples:
  """Returns the subset of n examples that a config selects.

  Raises:
    ConfigError: if there are not as many.
  """
  return datasets.subset(
    examples,
    n,
    config.data_seed,
    info.num_classes,
    balanced=config.balanced_subset,
  )


def corrupt_labels(
  run: Asked,
  context: example.Context,
  train: tuple[example.Split, kinds.Images],
  test: tuple[example.Split, kinds.Images],
  skipped: tuple[str, ...],
) -> RunData[example.Labels]:
  """Corrupts the labels of both splits alike.

  Args:
    run: its corruptions.
    context: its `split` is filled in here.
    train: to learn from, and the images that a corruption of labels may ask
      for.
    test: to be tested on, likewise.
    skipped: is handed on.
  """
  found, reports = [], []
  for split, images in (train, test):
    label, facts = kinds.corrupt_labels(
      run.corruptions, context._replace(split=split), images
    )
    found.append(example.Labels(split.id, label, split.label))
    reports.append(facts)
  facts = [
    {"corruption": str(corruption), **stated}
    for corruption, stated in zip(run.corruptions, reports[0], strict=True)
  ]
  changed = [float(np.mean(x.label != x.true_label)) for x in found]
  report = {
    "corruptions": facts,
    # One coin per example: what p corrupts, a larger p corrupts as well.
    "label_corruption_probability": max(
      (r.get("probability", 0.0) for r in facts), default=0.0
    ),
    "changed_fraction": changed[0],
    "test_changed_fraction": changed[1],
  }
  return RunData(context.info, found[0], found[1], report, skipped)
