"""Table 3 (appendix D): kernels and linear models that interpolate.

  python -m rethink.sweep --config=configs/table3_kernels.py:fashion_mnist
  python -m rethink.sweep --config=configs/table3_kernels.py:smoke
  python -m rethink.report --config=configs/table3_kernels.py

A run's name begins with its group, which a sweep can take by itself: all images
of a data set (`mnist`, `fashion_mnist`, `cifar10`), bandwidths and ridges judged
by held-out training images (`choose`), and the error against the number of
points (`points`), the ridge (`ridge`) or the number of random filters
(`filters`). Groups take minutes on two CPU cores, all images of a data set half
an hour. MNIST is the first author's kernel, exp(-0.02 |x - z|^2) on pixels in
[0, 1], which is bandwidth 5, and 1.22 % by him.
"""

from configs import kernels
from rethink import experiments as ex

_ONE = {"seed0": {}}  # nothing is drawn: other seeds would be the same run
MNIST = dict(dataset="mnist", image_size=28)
FASHION = dict(dataset="fashion_mnist", image_size=28)
CIFAR = dict(dataset="cifar10", image_size=32)


def kernel(name: str, bandwidth: float = 0.0) -> dict:
  """Of pixels; bandwidth 0 is the median distance."""
  return dict(kernel=f"{name}(bandwidth={bandwidth})")


def _filters(count: int) -> dict:
  """Random convolutional features; near as many as points ill-conditioned."""
  return dict(
    features=(f"random_convolution(filters={count})",),
    kernel="linear()",
    preconditioner="cholesky('float64')",
    tolerance=1e-6,
  )


def noisy(p: float) -> dict:
  """Labels corrupted with a probability."""
  return dict(corruptions=(f"partially_corrupted_labels(p={p})",))


MODELS = {
  "gaussian": kernel("gaussian", 5.0),
  "laplacian": kernel("laplacian"),
  "gabor": dict(features=("gabor()",), **kernel("gaussian")),
}
# Bandwidth and ridge of the filters are the best of the group `choose`.
CIFAR_MODELS = {
  "gaussian": kernel("gaussian", 6.0),
  "laplacian": kernel("laplacian"),
}
RIDGES = {"none": {}, "ridge": dict(ridge=1.0)}
FILTER_RIDGES = {"none": {}, "ridge": dict(ridge=1000.0)}
_BANDWIDTHS = {
  "gaussian": (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 14.0),
  "laplacian": (5.0, 10.0, 20.0, 40.0, 80.0),
}
_CHOSEN_RIDGES = (10.0, 100.0, 1000.0, 10_000.0, 100_000.0)
_SIZES = (1000, 2000, 5000, 10_000, 20_000)
_RIDGES = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
_FILTERS = {  # with 625 there are as many features as points
  "none": (25, 100, 250, 400, 550, 600, 624, 650, 700, 850, 1250, 2500, 5000),
  "ridge": (25, 100, 250, 400, 624, 850, 1250, 2500, 5000),
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
  **ex.product(
    data={"cifar10": CIFAR},
    model={"filters32000": _filters(32_000)},
    ridge=FILTER_RIDGES,
    seed=_ONE,
  ),
}
CHOOSE = ex.product(
  group={"choose": dict(CIFAR, train_examples=5000, held_out=1000)},
  model={
    **{
      f"{name}_{value:g}": kernel(name, value)
      for name, values in _BANDWIDTHS.items()
      for value in values
    },
    **{
      f"ridge_{value:g}": dict(_filters(1000), ridge=value)
      for value in _CHOSEN_RIDGES
    },
  },
  seed=_ONE,
)
POINTS = ex.product(
  group={"points": {}},
  model={
    "fashion_mnist_gaussian": dict(FASHION, **MODELS["gaussian"]),
    "fashion_mnist_laplacian": dict(FASHION, **MODELS["laplacian"]),
    "cifar10_gaussian": dict(CIFAR, **CIFAR_MODELS["gaussian"]),
  },
  n={str(n): dict(train_examples=n) for n in _SIZES},
  seed=_ONE,
)
RIDGE = ex.product(
  group={"ridge": dict(FASHION, **MODELS["gaussian"], train_examples=10_000)},
  labels={"p0.0": {}, "p0.4": noisy(0.4)},
  ridge={f"{value:g}": dict(ridge=value) for value in _RIDGES},
  seed=_ONE,
)
FILTERS = {
  run: fields
  for name, counts in _FILTERS.items()
  for run, fields in ex.product(
    group={"filters": dict(CIFAR, train_examples=5000)},
    ridge={name: FILTER_RIDGES[name]},
    filters={str(count): _filters(count) for count in counts},
    seed=_ONE,
  ).items()
}
RUNS = {**FULL, **CHOOSE, **POINTS, **RIDGE, **FILTERS}


def _small() -> ex.Runs:
  """The digits: a run of most groups, in seconds."""
  digits = dict(dataset="digits", image_size=8)
  pixels = dict(digits, kernel="gaussian(bandwidth=0.0)")

  def smoke(*names: str, **overrides) -> ex.Runs:
    chosen = {f"{name}/seed0": RUNS[f"{name}/seed0"] for name in names}
    return ex.smoke(chosen, **overrides)

  small = smoke("mnist/gaussian/none", "mnist/gaussian/ridge", **pixels)
  small |= smoke("mnist/laplacian/none", **digits)
  for n in _SIZES[:2]:
    name = f"points/fashion_mnist_gaussian/{n}"
    small |= smoke(name, **pixels, train_examples=n // 10)
  for value in _RIDGES[2:5]:
    name = f"ridge/p0.4/{value:g}"
    small |= smoke(name, **pixels, train_examples=300)
  for name in ("none", "ridge"):
    for count in (25, 100, 250):
      small |= smoke(
        f"filters/{name}/{count}",
        **digits,
        train_examples=400,
        features=(f"random_convolution(filters={count // 4}, patch=3)",),
      )
  return small


RUNS |= _small()


def get_config(run: str = next(iter(RUNS))):
  """One run of Table 3, by name."""
  return ex.select(kernels.get_config(), RUNS, run)
