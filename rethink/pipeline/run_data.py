"""What a run learns from and is tested on: loaded, cut to size, corrupted."""

from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from rethink import errors, example, specs
from rethink.pipeline import datasets
from rethink.storage import runs


class RunData(NamedTuple):
  """The examples of a run.

  Attributes:
    info: the data set before subsets and corruptions.
    train: `label` is what the model is asked to learn.
    test: `label` is corrupted like the training labels, `true_label` clean.
    report: what the corruptions did; JSON values.
    skipped: a line for each damaged record that was left out.
  """

  info: example.DatasetInfo
  train: example.Example
  test: example.Example
  report: dict[str, Any]
  skipped: tuple[str, ...]

  @property
  def sizes(self) -> dict[str, Any]:
    """What status.json says of the examples."""
    return {
      "train": len(self.train.id),
      "test": len(self.test.id),
      "skipped": list(self.skipped),
    }


class Asked(Protocol):
  """What must be known of a run to load its data."""

  @property
  def config(self) -> Any: ...
  @property
  def corruptions(self) -> tuple[specs.Call, ...]: ...


def load_for_run(asked: Asked, run: runs.Run, data_dir: str) -> RunData:
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


def load(run: Asked, data_dir: str) -> RunData:
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
  return corrupt(run, train, test, context, dataset.skipped)


def part(
  examples: example.Example, n: int, config: Any, info: example.DatasetInfo
) -> example.Example:
  """The subset of n examples that a config means.

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


def corrupt(
  run: Asked,
  train: example.Example,
  test: example.Example,
  context: example.Context,
  skipped: tuple[str, ...],
) -> RunData:
  """Both splits corrupted alike; `skipped` is handed on."""
  reports = []
  for corruption in run.corruptions:
    train, facts = corruption(train, context)
    test, _ = corruption(test, context)
    reports.append({"corruption": str(corruption), **facts})
  report = {
    "corruptions": reports,
    # One coin per example: what p corrupts, a larger p corrupts as well.
    "label_corruption_probability": max(
      (r.get("probability", 0.0) for r in reports), default=0.0
    ),
    "changed_fraction": float(np.mean(train.label != train.true_label)),
    "test_changed_fraction": float(np.mean(test.label != test.true_label)),
  }
  return RunData(context.info, train, test, report, skipped)
