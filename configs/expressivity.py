"""Theorem 1 and Corollary 1: CIFAR-10 fitted by networks that are computed.

  python -m rethink.sweep --config=configs/expressivity.py
  python -m rethink.report --config=configs/expressivity.py

A run is network/labels/seed; `deep100` has 100 hidden layers. The seed draws
the directions. What is fitted are the images as a network would see them:
cropped to 28x28 and standardized. Beside the built networks stand two that are
trained on the same labels.
"""

from configs import cifar10
from rethink import experiments as ex

DEPTHS = (2, 10, 100, 1000)
# The hidden units of a few images at a time stay in the cache.
_BUILT = dict(eval_batch_size=64)
NETWORKS = {
  "theorem1": dict(method="construct()", **_BUILT),
  "theorem1_one_hot": dict(method="construct(one_hot=True)", **_BUILT),
  **{
    f"deep{k}": dict(method=f"construct(depth={k})", **_BUILT) for k in DEPTHS
  },
  "mlp_1x512": cifar10.MODELS["mlp_1x512"],
  "mlp_3x512": cifar10.MODELS["mlp_3x512"],
}
LABELS = {
  "true": dict(corruptions=()),
  "random": dict(corruptions=("random_labels()",)),
}
_SMALL = {
  "theorem1": NETWORKS["theorem1"],
  "deep10": NETWORKS["deep10"],
  "mlp_1x512": cifar10.SMALL["mlp_1x512"],
}
RUNS = {
  **ex.product(network=NETWORKS, labels=LABELS, seed=ex.SEEDS),
  **ex.smoke(
    ex.product(network=_SMALL, labels=LABELS, seed=ex.SEEDS), **cifar10.SMOKE
  ),
}


def get_config(run: str = "theorem1/random/seed0"):
  """One run of the experiment, by name."""
  return ex.select(cifar10.get_config(), RUNS, run)
