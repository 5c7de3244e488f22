"""Table 4: random labels on CIFAR-10 under explicit regularizers.

  python -m rethink.sweep --config=configs/table4_random_labels.py
  python -m rethink.report --config=configs/table4_random_labels.py

A run is named model/regularizers/seed. For its two rows with augmentation the
paper uses a learning-rate decay of 0.999 instead of 0.95, and more epochs; it
does not say how many.
"""

from configs import cifar10
from rethink import experiments as ex

_LONG = dict(
  schedule="exponential(decay=0.999, every_epochs=1)",
  num_epochs=300,
  # The clean images are fitted before the augmented ones, so stopping at a
  # clean train loss would be too early.
  stop_at_train_loss=0.0,
)


def _decay(arguments: str) -> dict:
  return dict(regularizers=(f"weight_decay({arguments})",))


REGULARIZERS = {
  "wd": _decay("0.0005"),
  # Candidates for the coefficient with which the paper's AlexNet fails to
  # converge; the paper does not give it.
  "wd5e-5": _decay("0.00005"),
  "wd1e-4": _decay("0.0001"),
  "wd4e-3_dense": _decay("0.004, tensors='dense'"),
  "crop": dict(regularizers=("random_crop()",), **_LONG),
  "flip+rotation": dict(
    regularizers=("random_flip()", "random_rotation(25.0)"), **_LONG
  ),
}
_AUGMENTED = ("crop", "flip+rotation")
# Model, regularizer, the paper's train accuracy in %.
_ROWS = (
  ("inception", "wd", 100.0),
  ("alexnet", "wd", "failed to converge"),
  ("alexnet", "wd5e-5", "failed to converge"),
  ("alexnet", "wd1e-4", "failed to converge"),
  ("alexnet", "wd4e-3_dense", "failed to converge"),
  ("mlp_3x512", "wd", 100.0),
  ("mlp_1x512", "wd", 99.21),
  ("inception", "crop", 99.93),
  ("inception", "flip+rotation", 99.28),
)
_WORDS = {
  "wd": "weight decay 5e-4",
  "wd5e-5": "weight decay 5e-5",
  "wd1e-4": "weight decay 1e-4",
  "wd4e-3_dense": "weight decay 4e-3, dense layers only",
  "crop": "random crop",
  "flip+rotation": "random flip and rotation up to 25°",
}


def _runs(models, rows) -> ex.Runs:
  runs = {}
  for model, regularizer, *_ in rows:
    runs |= ex.product(
      model={model: models[model]},
      regularizers={regularizer: REGULARIZERS[regularizer]},
      seed=ex.SEEDS,
    )
  return runs


RUNS = {
  **_runs(cifar10.MODELS, _ROWS),
  **ex.smoke(
    _runs(
      cifar10.SMALL,
      (("mlp_1x512", "wd"), ("inception", "wd"), ("inception", "crop")),
    ),
    **cifar10.SMOKE,
  ),
}


def get_config(run: str = "inception/wd/seed0"):
  """Returns the config of one run of Table 4."""
  config = cifar10.get_config()
  config.corruptions = ("random_labels()",)
  return ex.select(config, RUNS, run)


def _row(model: str, regularizer: str, paper: float | str) -> ex.Row:
  return ex.Row(
    heads=(cifar10.NAMES[model], _WORDS[regularizer]),
    runs=f"{model}/{regularizer}",
    paper={"batch" if regularizer in _AUGMENTED else "train": paper},
    parameters=cifar10.PARAMETERS[model],
  )


REPORT = ex.Report(
  title="Random labels under explicit regularizers",
  source="Table 4",
  question="Do explicit regularizers keep networks from fitting random labels?",
  tables=(
    ex.Table(
      key="accuracy",
      title="Train accuracy on random labels",
      heads=("model", "regularizer"),
      columns=(
        ex.Column("train", "clean pass", "end", "train/accuracy", "%", 1),
        ex.Column(
          "batch", "mean over the last epoch", "end", "batch/accuracy", "%", 1
        ),
        ex.Column("test", "test accuracy", "end", "test/accuracy"),
        ex.Column("fit", "epochs to fit", "epochs_to_fit", unit="epochs"),
      ),
      rows=tuple(_row(*row) for row in _ROWS),
    ),
  ),
  verdicts=tuple(
    ex.Memorization(
      name=f"{cifar10.NAMES[model]} with {_WORDS[regularizer]}",
      random=f"{model}/{regularizer}",
      augmented=regularizer in _AUGMENTED,
      paper=paper if isinstance(paper, str) else f"{paper:.2f} % train",
    )
    for model, regularizer, paper in _ROWS
  ),
  notes=(
    *cifar10.NOTES,
    "The paper does not state the weight-decay coefficient; we use 5e-4. For"
    " the AlexNet, which failed to converge in the paper, four coefficients are"
    " tried. 4e-3 is the one that the TensorFlow tutorial with the same layers"
    " applies to its two hidden dense layers; ours also applies to the last"
    " one.",
    "MLP 1×512 reaches a lower train accuracy than in the paper, here and in"
    " Table 1. Another initialization does not change that, and on images that"
    " are compressed once more it is lower still: see configs/mlp_fit.py.",
    "With augmentation, the paper's train accuracy is the mean over the batches"
    " of an epoch, on the augmented images. The accuracy of a clean pass, on"
    " the images without augmentation, is shown too but not compared.",
    'For these two rows the paper changes "the weight decay factor" from 0.95'
    " to 0.999. As 0.95 is its learning-rate decay, we change that. The paper"
    " does not say how many more epochs it trains; ours are 300.",
  ),
  train_examples=cifar10.TRAIN_EXAMPLES,
  stand_ins=cifar10.STAND_INS,
)
