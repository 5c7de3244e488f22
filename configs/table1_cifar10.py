"""Table 1: CIFAR-10 with and without regularization, true and random labels.

  python -m rethink.sweep --config=configs/table1_cifar10.py
  python -m rethink.report --config=configs/table1_cifar10.py

A run is named model/labels/regularizers/seed. There are runs for all rows of
the paper's table and for the combinations that it leaves out. Add a line to
MODELS, or replace them, to make the same table for another network:

  MODELS = {"mine": dict(model="my_models:Net()", learning_rate=0.01)}
"""

from configs import cifar10
from rethink import experiments as ex

MODELS = cifar10.MODELS
LABELS = {
  "true": dict(corruptions=()),
  "random": dict(corruptions=("random_labels()",)),
}
# The paper gives no weight-decay coefficient; 5e-4 is our choice. Coefficients
# are inputs of the compiled step, so with 0.0 in place of no regularizer the
# runs with and without decay share one program.
REGULARIZERS = {
  "none": dict(regularizers=("weight_decay(0.0)",)),
  "wd": dict(regularizers=("weight_decay(0.0005)",)),
  "crop": dict(regularizers=("random_crop()", "weight_decay(0.0)")),
  "crop+wd": dict(regularizers=("random_crop()", "weight_decay(0.0005)")),
}


def _small(model: str, *regularizers: str) -> ex.Runs:
  small = {model: cifar10.SMALL[model]}
  chosen = {name: REGULARIZERS[name] for name in regularizers}
  return ex.product(
    model=small, labels=LABELS, regularizers=chosen, seed=ex.SEEDS
  )


RUNS = {
  **ex.product(
    model=MODELS, labels=LABELS, regularizers=REGULARIZERS, seed=ex.SEEDS
  ),
  **ex.smoke(
    {**_small("inception", "none"), **_small("mlp_1x512", "none", "crop+wd")},
    **cifar10.SMOKE,
  ),
}


def get_config(run: str = next(iter(RUNS))):
  """Returns the config of one run of Table 1."""
  return ex.select(cifar10.get_config(), RUNS, run)


# Model, regularizers, labels: train and test accuracy in %, from Table 1.
_PAPER = (
  ("inception", "crop+wd", "true", 100.0, 89.05),
  ("inception", "crop", "true", 100.0, 89.31),
  ("inception", "wd", "true", 100.0, 86.03),
  ("inception", "none", "true", 100.0, 85.75),
  ("inception", "none", "random", 100.0, 9.78),
  ("inception_no_bn", "wd", "true", 100.0, 83.00),
  ("inception_no_bn", "none", "true", 100.0, 82.00),
  ("inception_no_bn", "none", "random", 100.0, 10.12),
  ("alexnet", "crop+wd", "true", 99.90, 81.22),
  ("alexnet", "crop", "true", 99.82, 79.66),
  ("alexnet", "wd", "true", 100.0, 77.36),
  ("alexnet", "none", "true", 100.0, 76.07),
  ("alexnet", "none", "random", 99.82, 9.86),
  ("mlp_3x512", "wd", "true", 100.0, 53.35),
  ("mlp_3x512", "none", "true", 100.0, 52.39),
  ("mlp_3x512", "none", "random", 100.0, 10.48),
  ("mlp_1x512", "wd", "true", 99.80, 50.39),
  ("mlp_1x512", "none", "true", 100.0, 50.51),
  ("mlp_1x512", "none", "random", 99.34, 10.61),
)


def _rows(model: str) -> list[ex.Row]:
  """Returns the paper's rows of a model; another model gets Inception's."""
  known = model in cifar10.NAMES
  return [
    ex.Row(
      heads=(
        cifar10.NAMES.get(model, model),
        "yes" if "crop" in regularizers else "no",
        "yes" if "wd" in regularizers else "no",
        labels,
      ),
      runs=f"{model}/{labels}/{regularizers}",
      paper={"train": train, "test": test} if known else {},
      parameters=cifar10.PARAMETERS.get(model, 0),
      tolerances=cifar10.TOLERANCES.get(model, {}),
    )
    for name, regularizers, labels, train, test in _PAPER
    if name == (model if known else "inception")
  ]


def _verdict(model: str) -> ex.Memorization:
  paper = {
    name: f"{train:.2f} % train, {test:.2f} % test"
    for name, regularizers, labels, train, test in _PAPER
    if (regularizers, labels) == ("none", "random")
  }
  return ex.Memorization(
    name=cifar10.NAMES.get(model, model),
    true=f"{model}/true/none",
    random=f"{model}/random/none",
    paper=paper.get(model, ""),
  )


REPORT = ex.Report(
  title="With and without explicit regularization",
  source="Table 1",
  question=(
    "Do networks fit random labels in the same set-up in which they generalize"
    " on true labels, and how much of their test accuracy is due to explicit"
    " regularizers?"
  ),
  tables=(
    ex.Table(
      key="accuracy",
      title="Accuracy",
      heads=("model", "random crop", "weight decay", "labels"),
      columns=(
        ex.Column("train", "train accuracy", "end", "train/accuracy", "%", 1),
        ex.Column("test", "test accuracy", "end", "test/accuracy", "%", 1),
        ex.Column(
          "gap", "generalization error", "generalization_error", unit="points"
        ),
        ex.Column("fit", "epochs to fit", "epochs_to_fit", unit="epochs"),
      ),
      rows=tuple(row for model in MODELS for row in _rows(model)),
    ),
  ),
  verdicts=tuple(_verdict(model) for model in MODELS),
  notes=(
    *cifar10.NOTES,
    "The paper does not state the weight-decay coefficient; we use 5e-4.",
    "The paper does not state the length of the runs; ours end at a clean train"
    " loss of 0.001 or after 100 epochs.",
    "The paper's own numbers differ: Figure 2b ends at 86.5 and 84.9 % test"
    " accuracy with and without batch norm, but Table 1 gives 85.75 and 82.00"
    " %. For this reason the tolerance of test accuracy without batch norm is 3"
    " points. Figure 1c starts at 87.2 % for Inception and 69.9 % for AlexNet,"
    " but Table 1 gives 85.75 and 76.07 %.",
  ),
  train_examples=cifar10.TRAIN_EXAMPLES,
  stand_ins=cifar10.STAND_INS,
)
