"""The data of a run: loaded, reduced to a subset, corrupted."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from rethink import errors, example, specs
from rethink.corrupting import kinds
from rethink.pipeline import attainable, datasets, framing, splits
from rethink.storage import runs


class RunData[Examples: (example.Example, example.Labels)](NamedTuple):
  """The examples of a run; on the stream path without their images.

  Attributes:
    info: the data set before subsets and corruptions.
    train: `label` is what the model is asked to learn.
    test: `label` is corrupted like the training labels, `true_label` clean.
    report: what the corruptions did; JSON values.
    skipped: a line for each damaged record that was left out.
    image_size: height and width of what the model sees, in pixels.
    stored: height and width of the stored images; None where they are resized.
  """

  info: example.DatasetInfo
  train: Examples
  test: Examples
  report: dict[str, Any]
  skipped: tuple[str, ...]
  image_size: int
  stored: tuple[int, int] | None

  @property
  def sizes(self) -> dict[str, Any]:
    """The entry of status.json about the examples."""
    return {
      "train": len(self.train.id),
      "test": len(self.test.id),
      "skipped": list(self.skipped),
      "pixels_seen": [self.image_size, self.image_size],
      "pixels_stored": self.stored and list(self.stored),
    }

  @property
  def overlap(self) -> int:
    """The number of test examples that are training examples."""
    return len(np.intersect1d(self.train.id, self.test.id))


class Asked(Protocol):
  """The part of a run's settings that loading its data needs."""

  @property
  def config(self) -> Any: ...
  @property
  def corruptions(self) -> tuple[specs.Call, ...]: ...


def load_for_run(
  asked: Asked,
  run: runs.Run,
  data_dir: str,
  *,
  change: Callable[[RunData], RunData] = lambda loaded: loaded,
  evaluated: int = 0,
) -> RunData[example.Example]:
  """Loads the data of a run, binds it to them and says so in status.json.

  Args:
    asked: the checked config.
    run: the open run directory.
    data_dir: where prepared data sets lie.
    change: what the method does to the splits before it uses them.
    evaluated: training examples that clean passes go over; 0 is all of them.

  Raises:
    DataError: if data are missing or damaged.
    ConfigError: as `load`, or if the run was started on other data.
  """
  loaded = change(load(asked, data_dir))
  rows = None
  if evaluated:
    some = part(loaded.train, evaluated, asked.config, loaded.info)
    rows = np.searchsorted(loaded.train.id, some.id)
  bind(
    run,
    loaded,
    attainable.facts(loaded.train, loaded.test, loaded.image_size, rows),
  )
  return loaded


def bind(run: runs.Run, loaded: RunData, facts: dict[str, Any]) -> None:
  """Binds a run to its data and says so in status.json.

  Args:
    run: the open run directory.
    loaded: its data.
    facts: of `attainable`.

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
    test_overlap=loaded.overlap,
    attainable=facts,
  )


def load(run: Asked, data_dir: str) -> RunData[example.Example]:
  """Loads the data of a run.

  Raises:
    DataError: if data are missing or damaged.
    ConfigError: if split, subset or image size do not fit the data set.
  """
  config = run.config
  resized = framing.resizes(config)
  dataset = (
    framing.load(config, data_dir)
    if resized
    else datasets.load(
      config.dataset, data_dir, skip_damaged=config.skip_damaged
    )
  )
  info = dataset.info
  size = framing.side(config, info.shape[:2], info.name)
  context = example.Context(config.data_seed, info, size)

  def cut(field: str) -> tuple[str, example.Example]:
    found = splits.parse(config[field], field)
    if found.name not in dataset.splits:
      raise errors.ConfigError(
        f"config.{field}: {info.name} has no split {found.name!r};"
        f" there are: {', '.join(dataset.splits)}"
      )
    whole = dataset.splits[found.name]
    if found.whole:
      return found.name, whole
    return found.name, whole.take(found.rows(len(whole.id), field))

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

  train_name, train = cut("train_split")
  test_name, test = cut("test_split")
  if config.train_examples:
    train = part(train, config.train_examples, config, info)
  labels = corrupt_labels(
    run,
    context,
    split(train_name, train, True),
    split(test_name, test, False),
    dataset.skipped,
    None if resized else info.shape[:2],
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
    size,
    labels.stored,
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


def evaluated[Examples: (example.Example, example.Labels)](
  known: RunData[Examples], config: Any
) -> Examples:
  """Returns the training examples that clean passes go over."""
  n = config.eval_train_examples
  return part(known.train, n, config, known.info) if n else known.train


def corrupt_labels(
  run: Asked,
  context: example.Context,
  train: tuple[example.Split, kinds.Images],
  test: tuple[example.Split, kinds.Images],
  skipped: tuple[str, ...],
  stored: tuple[int, int] | None,
) -> RunData[example.Labels]:
  """Corrupts the labels of both splits alike.

  Args:
    run: its corruptions.
    context: its `split` is filled in here.
    train: to learn from, and the images that a corruption of labels may ask
      for.
    test: to be tested on, likewise.
    skipped: is handed on, as is the last.
    stored: height and width of the stored images; None where they are resized.
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
  return RunData(
    context.info,
    found[0],
    found[1],
    report,
    skipped,
    context.image_size,
    stored,
  )
