"""Table 3 (appendix D): kernels and linear models that interpolate.

  python -m rethink.sweep --config=configs/table3_kernels.py:fashion_mnist
  python -m rethink.sweep --config=configs/table3_kernels.py:smoke
  python -m rethink.report --config=configs/table3_kernels.py

Names of runs begin with what they are about, and a sweep takes one such group
at a time: all images of a data set (`mnist`, `fashion_mnist`, `cifar10`);
bandwidths and ridges by held-out training images (`choose`); `points`, `ridge`,
`filters`, `corrupted`, the error and the norm against one of them;
`interpolants`, other functions that fit; `sgd`, linear models from zero.

MNIST is the first author's kernel, exp(-0.02 |x - z|^2) on pixels in [0, 1],
which is bandwidth 5. Minutes to an hour each on two CPU cores.
"""

from configs import kernels
from rethink import experiments as ex

_ONE = {"seed0": {}}  # nothing is drawn, so that other seeds are the same run


def _gaussian(bandwidth: float = 0.0) -> dict:
  return dict(kernel=f"gaussian(bandwidth={bandwidth})")


def _laplacian(bandwidth: float = 0.0) -> dict:
  return dict(kernel=f"laplacian(bandwidth={bandwidth})")


def _filters(count: int, **fields) -> dict:
  """Random convolutional features; ill-conditioned near as many as points."""
  return dict(
    features=(f"random_convolution(filters={count})",),
    kernel="linear()",
    preconditioner="cholesky('float64')",
    tolerance=1e-6,
    **fields,
  )


RIDGES = {"none": dict(ridge=0.0), "ridge": dict(ridge=1.0)}
MNIST = dict(dataset="mnist", image_size=28)
FASHION = dict(dataset="fashion_mnist", image_size=28)
CIFAR = dict(dataset="cifar10", image_size=32)
MODELS = {
  "gaussian": _gaussian(5.0),
  "laplacian": _laplacian(),
  "gabor": dict(features=("gabor()",), **_gaussian()),
}
CIFAR_MODELS = {
  "gaussian": _gaussian(6.0),
  "laplacian": _laplacian(),
}
FULL = {
  **ex.product(
    data={"mnist": MNIST, "fashion_mnist": FASHION},
    model=MODELS,
    ridge=RIDGES,
    seed=_ONE,
  ),
  **ex.product(
    data={"cifar10": CIFAR}, model=CIFAR_MODELS, ridge=RIDGES, seed=_ONE
  ),
}
RUNS = {**FULL}


def get_config(run: str = next(iter(RUNS))):
  """One run of Table 3, by name."""
  return ex.select(kernels.get_config(), RUNS, run)
