"""Table 1: CIFAR-10 with and without explicit regularization, true and random.

  python -m rethink.main \\
    --config=configs/table1_cifar10.py:mlp_1x512/random/none/seed0

A run is model/labels/regularizers/seed. Every row of the paper is a run, and so
are the combinations that it leaves out.
"""

from configs import cifar10
from rethink import experiments

MODELS = {
  "inception": dict(model="inception()", learning_rate=0.1),
  "inception_no_bn": dict(
    model="inception(batch_norm=False)", learning_rate=0.1
  ),
  "alexnet": dict(model="alexnet()", learning_rate=0.01),
  "mlp_3x512": dict(model="mlp(widths=(512, 512, 512))", learning_rate=0.01),
  "mlp_1x512": dict(model="mlp(widths=(512,))", learning_rate=0.01),
}
LABELS = {
  "true": dict(corruptions=()),
  "random": dict(corruptions=("random_labels()",)),
}
# The paper prints no weight-decay coefficient; 5e-4 is this project's.
REGULARIZERS = {
  "none": dict(regularizers=()),
  "wd": dict(regularizers=("weight_decay(0.0005)",)),
  "crop": dict(regularizers=("random_crop()",)),
  "crop+wd": dict(regularizers=("random_crop()", "weight_decay(0.0005)")),
}
SEEDS = {f"seed{n}": dict(seed=n) for n in range(3)}
RUNS = experiments.product(
  model=MODELS, labels=LABELS, regularizers=REGULARIZERS, seed=SEEDS
)


def get_config(run: str = "inception/true/none/seed0"):
  """One run of Table 1, by name."""
  return experiments.select(cifar10.get_config(), RUNS, run)
