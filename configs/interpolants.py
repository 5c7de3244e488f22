"""Section 5: functions that fit the same labels, their norms and their errors.

  python -m rethink.sweep --config=configs/interpolants.py
  python -m rethink.report --config=configs/interpolants.py

On Fashion-MNIST. Labels are corrupted with probability p and fitted (the
experiment of Belkin, Ma & Mandal 2018): `corrupted`, 10,000 images. Functions
that the paper names as bad and does not measure: `other`, 2,000 images.
Stochastic gradient descent on least squares from zero, and from elsewhere:
`sgd`, 300 images. Ten minutes on two CPU cores.
"""

from configs import kernels
from configs import table3_kernels as table3
from rethink import experiments as ex

_ONE = {"seed0": {}}
_KERNELS = {name: table3.MODELS[name] for name in ("gaussian", "laplacian")}
_PROBABILITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_LABELS = {f"p{p}": table3.noisy(p) if p else {} for p in _PROBABILITIES}
_OTHERS = {
  "min_norm": {},
  "wrong_on_test": dict(interpolant="wrong_on_test()"),
  "random_centres": dict(interpolant="random_centres()"),
}
_FEATURES = {
  "pixels": {},
  "filters": dict(features=("random_convolution(filters=100)",)),
}
_STARTS = {
  "zero": dict(interpolant="sgd(epochs=1000)"),
  "elsewhere": dict(interpolant="sgd(epochs=1000, start=0.1)"),
}
RUNS = {
  **ex.product(
    group={"corrupted": dict(table3.FASHION, train_examples=10_000)},
    model=_KERNELS,
    labels=_LABELS,
    seed=_ONE,
  ),
  **ex.product(
    group={
      "other": dict(
        table3.FASHION, **table3.MODELS["gaussian"], train_examples=2000
      )
    },
    function=_OTHERS,
    seed=_ONE,
  ),
  **ex.product(
    group={"sgd": dict(table3.FASHION, kernel="linear()", train_examples=300)},
    features=_FEATURES,
    start=_STARTS,
    seed=_ONE,
  ),
}


def get_config(run: str = next(iter(RUNS))):
  """One run of the experiment, by name."""
  return ex.select(kernels.get_config(), RUNS, run)
