"""Tests whether your model memorizes: true labels, random labels and noise.

  python -m rethink.sweep --config=configs/memorize.py \\
    --config.dataset=mine --config.model="my_models:TwoLayers()" --runs=mine
  python -m rethink.report --config=configs/memorize.py --runs=mine --out=mine

A run is named data/budget/seed. A budget is a number of epochs, over which the
learning-rate schedule is stretched. Set batch_size, learning_rate, regularizers
and, if it crops, image_size to those of your pipeline in the same way.
"""

from configs import base
from rethink import experiments as ex

DATA = {
  "true": dict(corruptions=()),
  "random": dict(corruptions=("random_labels()",)),
  "gaussian": dict(corruptions=("gaussian()",)),
}
_WORDS = {
  "true": "true labels",
  "random": "random labels",
  "gaussian": "images of noise",
}
_BUDGETS = (10, 30, 100)
BUDGETS = {f"epochs{n}": dict(num_epochs=n) for n in _BUDGETS}
_SMALL = {name: BUDGETS[name] for name in ("epochs30", "epochs100")}
RUNS = {
  **ex.product(data=DATA, budget=BUDGETS, seed=ex.SEEDS),
  **ex.smoke(
    ex.product(data=DATA, budget=_SMALL, seed=ex.SEEDS), train_examples=500
  ),
}


def get_config(run: str = "random/epochs30/seed0"):
  """Returns the config of one run; the command line sets model and data."""
  config = base.get_config()
  config.batch_size = 50
  config.learning_rate = 0.1
  config.schedule = "cosine(warmup_epochs=1)"
  return ex.select(config, RUNS, run)


_VERDICTS = tuple(
  ex.Memorization(
    name=f"Within {budget} epochs",
    true=f"true/epochs{budget}",
    random=f"random/epochs{budget}",
    noise=f"gaussian/epochs{budget}",
  )
  for budget in _BUDGETS
)

REPORT = ex.Report(
  title="Does it memorize?",
  source="",
  question=(
    "With these settings, can this model fit random labels and images of noise,"
    " and how many epochs does that take?"
  ),
  tables=(
    ex.Table(
      key="memorize",
      title="True labels, random labels, noise",
      heads=("data", "epochs"),
      columns=(
        ex.Column("train", "train accuracy", "end", "train/accuracy"),
        ex.Column("test", "test accuracy", "end", "test/accuracy"),
        ex.Column(
          "gap", "generalization error", "generalization_error", unit="points"
        ),
        ex.Column("fit", "epochs to fit", "epochs_to_fit", unit="epochs"),
        ex.Column(
          "relative",
          "relative to true labels",
          "relative_epochs_to_fit",
          unit="times",
        ),
      ),
      rows=tuple(
        ex.Row(
          heads=(_WORDS[data], str(budget)),
          runs=f"{data}/epochs{budget}",
          baseline=f"true/epochs{budget}",
        )
        for data in DATA
        for budget in _BUDGETS
      ),
    ),
  ),
  figures=tuple(
    ex.Curves(
      key=f"{budget}-epochs",
      title=f"Train loss, {budget} epochs",
      ylabel="train loss (nats, clean pass)",
      lines=tuple(
        ex.Line(_WORDS[data], f"{data}/epochs{budget}", "train/loss")
        for data in DATA
      ),
    )
    for budget in _BUDGETS
  ),
  verdicts=(ex.Overall("In short", _VERDICTS), *_VERDICTS),
  notes=(
    "Yes means that the train accuracy covers at least 95 % of the way from"
    " chance to what can be attained, no that it covers less than 5 % or is"
    " within three standard deviations of chance, and partly that it lies"
    " between.",
    "Epochs to fit are counted until the clean train loss is at most 0.05 nats"
    " above the lowest loss that can be attained.",
    "A model that fits random labels can memorize this training set. Its"
    " capacity then does not explain why it generalizes on the true labels.",
  ),
)
