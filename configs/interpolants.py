"""Section 5: norms and errors of different functions that fit the same labels.

  python -m rethink.sweep --config=configs/interpolants.py
  python -m rethink.report --config=configs/interpolants.py

All runs use Fashion-MNIST. `corrupted` (10,000 images) corrupts labels with
probability p and fits them, the experiment of Belkin, Ma & Mandal (2018).
`other` (2,000 images) computes the bad functions that the paper names but does
not measure. `sgd` (300 images) runs stochastic gradient descent on least
squares, from zero and from random weights. Everything takes ten minutes on two
CPU cores.
"""

from configs import kernels
from configs import table3_kernels as table3
from rethink import experiments as ex

_KERNELS = {"gaussian": "Gaussian", "laplacian": "Laplacian"}
_PROBABILITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_FUNCTIONS = {  # name: (head of the row, fields)
  "min_norm": ("least norm", {}),
  "wrong_on_test": (
    "least norm, wrong on all test images",
    dict(interpolant="wrong_on_test()"),
  ),
  "random_centres": (
    "2,000 centres of noise",
    dict(interpolant="random_centres()"),
  ),
}
_FEATURES = {
  "pixels": ("pixels", {}),
  "filters": (
    "100 random filters",
    dict(features=("random_convolution(filters=100)",)),
  ),
}
_STARTS = {
  "zero": ("zero", dict(interpolant="sgd(epochs=1000)")),
  "elsewhere": (
    "normal, deviation 0.1",
    dict(interpolant="sgd(epochs=1000, start=0.1)"),
  ),
}


def _labels(p: float) -> dict:
  if not p:
    return {}
  return dict(corruptions=(f"partially_corrupted_labels(p={p})",))


def _fields(choices: dict) -> dict:
  return {name: fields for name, (_, fields) in choices.items()}


CORRUPTED = ex.product(
  group={"corrupted": dict(table3.FASHION, train_examples=10_000)},
  model={name: table3.MODELS[name] for name in _KERNELS},
  labels={f"p{p}": _labels(p) for p in _PROBABILITIES},
  seed=table3.ONE,
)
OTHER = ex.product(
  group={
    "other": dict(
      table3.FASHION, **table3.MODELS["gaussian"], train_examples=2000
    )
  },
  function=_fields(_FUNCTIONS),
  seed=table3.ONE,
)
SGD = ex.product(
  group={"sgd": dict(table3.FASHION, kernel="linear()", train_examples=300)},
  features=_fields(_FEATURES),
  start=_fields(_STARTS),
  seed=table3.ONE,
)
RUNS = {
  **CORRUPTED,
  **OTHER,
  **SGD,
  **table3.small(
    [f"corrupted/gaussian/p{p}/seed0" for p in (0.0, 0.4, 1.0)],
    CORRUPTED,
    train_examples=500,
    **table3.kernel("gaussian"),
  ),
  **table3.small(
    [f"other/{name}/seed0" for name in _FUNCTIONS],
    OTHER,
    train_examples=300,
    **table3.kernel("gaussian"),
  ),
  **table3.small(
    [f"sgd/pixels/{start}/seed0" for start in _STARTS], SGD, train_examples=20
  ),
}


def get_config(run: str = next(iter(RUNS))):
  """Returns the config of one run of the experiment, by name."""
  return ex.select(kernels.get_config(), RUNS, run)


def _against_p(
  column: str, title: str, level: float | None = None
) -> ex.Against:
  return ex.Against(
    key=f"corrupted-{column}",
    title=title,
    table="corrupted",
    column=column,
    xlabel="probability of label corruption",
    series=tuple(
      ex.Series(
        label, tuple((p, f"corrupted/{name}/p{p}") for p in _PROBABILITIES)
      )
      for name, label in _KERNELS.items()
    ),
    level=level,
    level_label="" if level is None else "chance",
  )


_PATHS = tuple(
  (f"{features}, from {start}", f"sgd/{name}/{where}")
  for name, (features, _) in _FEATURES.items()
  for where, (start, _) in _STARTS.items()
)

REPORT = ex.Report(
  title="Functions that fit the same labels",
  source="Section 5",
  question=(
    "Many functions fit every training label. Which of them does gradient"
    " descent find, and can norm or curvature tell the good ones from the bad?"
  ),
  tables=(
    ex.Table(
      key="corrupted",
      title="10,000 images, fitted to labels corrupted with probability p",
      heads=("kernel", "p"),
      columns=(
        ex.Column("changed", "labels changed", "changed_fraction"),
        table3.TRAIN,
        table3.ERROR._replace(title="test error, clean labels"),
        ex.Column(
          "corrupted",
          "test error, corrupted labels",
          "end_error",
          "test/corrupted_accuracy",
        ),
        table3.NORM,
      ),
      rows=tuple(
        ex.Row((label, str(p)), f"corrupted/{name}/p{p}")
        for name, label in _KERNELS.items()
        for p in _PROBABILITIES
      ),
    ),
    ex.Table(
      key="other",
      title="2,000 images, Gaussian kernel: good and bad functions",
      heads=("function",),
      columns=(table3.TRAIN, table3.ERROR, table3.NORM, table3.RESIDUAL),
      rows=tuple(
        ex.Row((label,), f"other/{name}")
        for name, (label, _) in _FUNCTIONS.items()
      ),
    ),
    ex.Table(
      key="sgd",
      title="300 images, 1,000 epochs of gradient descent on least squares",
      heads=("features", "start"),
      columns=(
        table3.solution(
          "distance", "distance to the least-norm solution / its norm"
        ),
        table3.RESIDUAL,
        table3.NORM,
        table3.ERROR,
        table3.solution("features", "features"),
        table3.solution("hessian_zeros", "zero eigenvalues of the Hessian"),
      ),
      rows=tuple(
        ex.Row((features, start), f"sgd/{name}/{where}")
        for name, (features, _) in _FEATURES.items()
        for where, (start, _) in _STARTS.items()
      ),
    ),
  ),
  figures=(
    _against_p("norm", "Norm against the probability of corruption"),
    _against_p("error", "Error on clean test labels, all noise fitted", 90.0),
    ex.Profile(
      key="sgd",
      title="Gradient descent: distance to the interpolant of least norm",
      xlabel="step",
      ylabel="distance / norm",
      traces=tuple(
        ex.Trace(label, runs, "sgd", "step", "distance")
        for label, runs in _PATHS
      ),
      log="y",
    ),
    ex.Profile(
      key="hessian",
      title="Eigenvalues of the Hessian, the same at every interpolant",
      xlabel="rank",
      ylabel="eigenvalue",
      traces=tuple(
        ex.Trace(features, f"sgd/{name}/zero", "hessian", "rank", "value")
        for name, (features, _) in _FEATURES.items()
      ),
      log="y",
    ),
  ),
  verdicts=tuple(
    ex.Memorization(
      name=f"{label} kernel",
      random=f"corrupted/{name}/p1.0",
      true=f"corrupted/{name}/p0.0",
    )
    for name, label in _KERNELS.items()
  ),
  notes=(
    "The paper measures none of this. The sweep over p is the experiment of"
    " Belkin, Ma and Mandal (2018). Section 5 of the paper names the bad"
    " functions and says that their norms are much larger.",
    "Each step of gradient descent uses one image, with the learning rate that"
    " fits this image exactly.",
  ),
)
