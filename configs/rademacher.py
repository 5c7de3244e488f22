"""Measured Rademacher complexity on CIFAR-10 (section 2.2 argues it is 1).

  python -m rethink.sweep --config=configs/rademacher.py --only='mlp_*'
  python -m rethink.report --config=configs/rademacher.py

A run is named learner/number of images/seed. It fits 10 vectors of random signs
to the images, which are cropped to 28x28 and standardized (2,352 dimensions).
The subsets are nested, and an image has the same signs in all of them. The seed
determines the signs and the randomness of the learner. Convolutional networks
need a GPU.
"""

from configs import cifar10
from rethink import experiments as ex

# With few images an epoch has few steps: so the learning rate does not decay,
# and there are enough epochs to fit.
_TRAINING = dict(
  method="complexity('network()')",
  schedule="constant()",
  num_epochs=400,
  eval_every_epochs=5,
  stop_at_train_loss=0.05,
)
NETWORKS = ("inception", "alexnet", "mlp_3x512", "mlp_1x512")
LEARNERS = {
  **{name: {**cifar10.MODELS[name], **_TRAINING} for name in NETWORKS},
  "theorem1": dict(method="complexity('construction()')"),
  "deep10": dict(method="complexity('construction(depth=10)')"),
  "gaussian_kernel": dict(method="complexity('kernel()')"),
  "gaussian_ball": dict(method="complexity('ball(norm=1.0)')"),
  "linear": dict(method="complexity('linear()')"),
}
NAMES = {
  **cifar10.NAMES,
  "theorem1": "Theorem 1",
  "deep10": "Corollary 1, k = 10",
  "gaussian_kernel": "Gaussian kernel, interpolating",
  "gaussian_ball": "Gaussian kernel, norm 1",
  "linear": "linear classifier, least squares",
}
SIZES = (500, 1000, 2000, 4000, 8000)
_LARGE = (*SIZES, 16_000, 50_000)  # for learners that take only seconds
_MANY = {learner: SIZES for learner in LEARNERS} | {
  learner: _LARGE for learner in ("theorem1", "deep10", "linear")
}


def _runs(learners, sizes) -> ex.Runs:
  runs = {}
  for name, learner in learners.items():
    chosen = {f"n{n}": dict(train_examples=n) for n in sizes[name]}
    runs |= ex.product(learner={name: learner}, n=chosen, seed=ex.SEEDS)
  return runs


_SMALL = {**LEARNERS, "mlp_1x512": {**cifar10.SMALL["mlp_1x512"], **_TRAINING}}
_SMOKE = dict(dataset="digits", image_size=7, batch_size=50, num_epochs=200)
RUNS = {
  **_runs(LEARNERS, _MANY),
  **ex.smoke(
    _runs(
      {
        name: _SMALL[name]
        for name in ("mlp_1x512", "theorem1", "gaussian_ball", "linear")
      },
      dict.fromkeys(LEARNERS, (500, 1000)),
    ),
    **_SMOKE,
  ),
}


def get_config(run: str = "theorem1/n500/seed0"):
  """Returns the config of one run of the experiment, by name."""
  config = cifar10.get_config()
  config.method = "complexity()"
  return ex.select(config, RUNS, run)


REPORT = ex.Report(
  title="Measured Rademacher complexity",
  source="Section 2.2",
  question=(
    "How well can a class of functions correlate with random signs of n images?"
    " The paper expects about 1 for its networks, without measuring it. Then no"
    " bound by Rademacher complexity can explain why they generalize."
  ),
  tables=(
    ex.Table(
      key="complexity",
      title="Correlation with random signs that learners attain",
      heads=("learner", "n"),
      columns=(
        ex.Column(
          "attained", "attained correlation", "end", "correlation", unit=""
        ),
        ex.Column("low", "95 % from", "end", "correlation_low", unit=""),
        ex.Column("high", "to", "end", "correlation_high", unit=""),
        ex.Column("norm", "norm", "end", "norm", unit=""),
        ex.Column("trained", "epochs trained", "end", "epochs", unit=""),
        ex.Column("parameters", "parameters", "status", "parameters", unit=""),
        ex.Column("seconds", "fitted in", "end", "time/fit_seconds", unit="s"),
      ),
      rows=tuple(
        ex.Row(
          heads=(NAMES[learner], f"{n:,}"),
          runs=f"{learner}/n{n}",
          paper={"attained": "≈ 1"} if learner in NETWORKS else {},
        )
        for learner in LEARNERS
        for n in _MANY[learner]
      ),
    ),
  ),
  figures=tuple(
    ex.Against(
      key=key,
      title=title,
      table="complexity",
      column="attained",
      xlabel="images",
      series=tuple(
        ex.Series(
          NAMES[learner],
          tuple((n, f"{learner}/n{n}") for n in _MANY[learner]),
        )
        for learner in learners
      ),
      log="x",
    )
    for key, title, learners in (
      (
        "learners",
        "Correlation attained with random signs of n images",
        (
          *("mlp_1x512", "mlp_3x512", "theorem1"),
          *("gaussian_kernel", "gaussian_ball", "linear"),
        ),
      ),
      (
        "networks",
        "Correlation attained by the paper's networks",
        NETWORKS,
      ),
    )
  ),
  notes=(
    "The supremum over a class cannot be measured. The mean correlation that a"
    " learner attains is a lower bound on it, and 1 is the largest possible"
    " value. The interval is for the mean over 10 sign vectors (Student's t).",
    "Networks and the linear classifier predict a sign; the outputs of the"
    " construction and of the interpolating kernel are clipped to [-1, 1]. Only"
    " for the kernel at norm 1 is the supremum known: sqrt(s' K s) / n, about"
    " 1 / sqrt(n).",
    "Least squares does not find the best linear classifier: any signs of up to"
    " about 2 d points in general position (here 4,704) can be separated (Cover"
    " 1965).",
    "Networks are trained at a constant learning rate until their clean loss is"
    " 0.05 nats. The paper trains on ten labels, not on two signs.",
  ),
  stand_ins=cifar10.STAND_INS,
)
