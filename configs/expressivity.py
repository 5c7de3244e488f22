"""Theorem 1 and Corollary 1: CIFAR-10 fitted by networks that are computed.

  python -m rethink.main --config=configs/expressivity.py:theorem1/random/seed0
  python -m rethink.sweep --config=configs/expressivity.py:smoke

A run is network/labels/seed; `deep100` has 100 hidden layers. The seed draws
the directions. What is fitted are the images as a network would see them:
cropped to 28x28 and standardized. Train accuracy is 100 %, test accuracy that
of guessing; a run takes about a minute on two CPU cores, mostly evaluation.
"""

from configs import cifar10
from rethink import experiments

NETWORKS = {
  "theorem1": dict(method="construct()"),
  "theorem1_one_hot": dict(method="construct(one_hot=True)"),
  **{
    f"deep{k}": dict(method=f"construct(depth={k})") for k in (2, 10, 100, 1000)
  },
}
LABELS = {
  "true": dict(corruptions=()),
  "random": dict(corruptions=("random_labels()",)),
}
SEEDS = {f"seed{n}": dict(seed=n) for n in range(3)}
SMOKE = dict(dataset="digits", image_size=8, train_examples=500)
RUNS = {
  **experiments.product(network=NETWORKS, labels=LABELS, seed=SEEDS),
  **experiments.product(
    size={"smoke": SMOKE},
    network={name: NETWORKS[name] for name in ("theorem1", "deep10")},
    labels=LABELS,
    seed={"seed0": dict(seed=0)},
  ),
}


def get_config(run: str = "theorem1/random/seed0"):
  """One run of the experiment, by name."""
  return experiments.select(cifar10.get_config(), RUNS, run)
