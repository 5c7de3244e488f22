"""Run directories as training would leave them, in milliseconds."""

import pathlib

from rethink import settings
from rethink.storage import runs

PARAMETERS = {  # as a model of the config would report
  "inception()": 1_649_402,
  "inception(batch_norm=False, kernel_init='glorot_uniform()')": 1_649_402,
  "alexnet()": 1_387_786,
  "mlp(widths=(512, 512, 512))": 1_735_178,
  "mlp(widths=(512,))": 1_209_866,
}


def row(epoch, train_loss=0.01, train=1.0, test=0.5, **more) -> runs.Row:
  """A row of metrics.jsonl."""
  return {
    "step": 391 * epoch,
    "epoch": epoch,
    "train/loss": train_loss,
    "train/accuracy": train,
    "test/accuracy": test,
    "test/corrupted_accuracy": test,
    "batch/accuracy": train,
    **more,
  }


def write(
  root: pathlib.Path,
  module,
  name: str,
  rows: list[runs.Row] | None = None,
  *,
  state: str = "done",
  images: int = 50_000,
  dataset: str = "",
  parameters: int = 0,
  changed: float | None = None,
  **fields,
) -> runs.Run:
  """Writes the run `name` of a config module under `root`, by the real writer.

  Args:
    root: of all experiments.
    module: the config.
    name: of the run.
    rows: of metrics; by default one fitted epoch.
    state: in which the run was left.
    images: in the training split.
    dataset: instead of the config's.
    parameters: of the network; by default the paper's.
    changed: fraction of labels; by default as random labels of ten classes.
    **fields: of the config, that differ from the run's.
  """
  config = module.get_config(name)
  if dataset:
    config.dataset = dataset
  config.update(fields)
  resolved = settings.resolve(config)
  folder = root / module.__name__.rpartition(".")[2] / name
  run = runs.Run(folder, resolved.outcome, resolved.bookkeeping)
  run.start()
  run.check_data({"name": config.dataset, "fingerprint": "0" * 32})
  if changed is None:
    changed = 0.9 if "random_labels()" in config.corruptions else 0.0
  known = PARAMETERS[config.model] if config.model in PARAMETERS else 1
  run.update(
    device="cpu",
    devices=1,
    backend="cpu",
    parameters=parameters or known,
    data={"train": images, "test": 10_000},
    corruption={"corruptions": [], "changed_fraction": changed},
    argv=["sweep.py", "--config=configs/x.py"],
    commit="0123456789abcdef",
    dirty=False,
  )
  rows = [row(1)] if rows is None else rows
  known = {metrics["epoch"] for metrics in rows}
  # A run that is done has a row for each epoch; these change no verdict.
  gaps = [e for e in range(1, max(known, default=0)) if e not in known]
  unfitted = [row(e, 9.0, train=0.0, test=0.0) for e in gaps]
  for metrics in sorted([*unfitted, *rows], key=lambda row: row["epoch"]):
    run.log(metrics)
    run.update(step=metrics["step"], epoch=metrics["epoch"])
  run.update(state=state, message="")
  return run
