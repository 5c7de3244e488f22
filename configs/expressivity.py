"""Theorem 1 and Corollary 1: networks constructed to fit CIFAR-10.

  python -m rethink.sweep --config=configs/expressivity.py
  python -m rethink.report --config=configs/expressivity.py

A run is named network/labels/seed; `deep100` has 100 hidden layers. The seed
draws the directions. The images are those that a trained network would see:
cropped to 28x28 and standardized. For comparison, two networks are trained on
the same labels.
"""

from configs import cifar10
from rethink import experiments as ex

DEPTHS = (2, 10, 100, 1000)
# With so few images at a time, the hidden units stay in the processor's cache.
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
  """Returns the config of one run of the experiment, by name."""
  return ex.select(cifar10.get_config(), RUNS, run)


_N, _D = cifar10.TRAIN_EXAMPLES, 28 * 28 * 3
_NAMES = {
  "theorem1": "Theorem 1",
  "theorem1_one_hot": "Theorem 1, an output per class",
  **{f"deep{k}": f"Corollary 1, k = {k:,}" for k in DEPTHS},
  "mlp_1x512": f"{cifar10.NAMES['mlp_1x512']}, trained",
  "mlp_3x512": f"{cifar10.NAMES['mlp_3x512']}, trained",
}


def _row(network: str, labels: str) -> ex.Row:
  weights: dict[str, float | str] = {}
  if network == "theorem1":
    weights = {"weights": 2 * _N + _D}
  elif network in cifar10.PARAMETERS:
    weights = {"weights": cifar10.PARAMETERS[network]}
  if weights:
    weights["per_point"] = float(weights["weights"]) / _N
  elif network.startswith("deep"):
    weights = {"weights": "O(n + d)", "width": "O(n / k)"}
  return ex.Row(
    heads=(_NAMES[network], labels),
    runs=f"{network}/{labels}",
    paper=weights,
    parameters=cifar10.PARAMETERS.get(network, 0),
  )


def _verdict(network: str, paper: str = "") -> ex.Memorization:
  return ex.Memorization(
    name=_NAMES[network],
    random=f"{network}/random",
    true=f"{network}/true",
    paper=paper,
  )


def _kinks(labels: str) -> ex.Trace:
  return ex.Trace(
    f"{labels} labels", f"theorem1/{labels}", "function", "projection", "value"
  )


REPORT = ex.Report(
  title="Networks that fit any labels, constructed instead of trained",
  source="Section 4",
  question=(
    "How many weights does it take to fit arbitrary labels of n images, and"
    " does a network with just as many generalize?"
  ),
  tables=(
    ex.Table(
      key="networks",
      title="Constructed and trained networks on the same labels",
      heads=("network", "labels"),
      columns=(
        ex.Column(
          "weights", "weights", "status", "parameters", unit="", tolerance=0
        ),
        ex.Column(
          "per_point",
          "weights per image",
          "parameters_per_example",
          unit="times",
        ),
        ex.Column("width", "width", "status", "width", unit=""),
        ex.Column("depth", "hidden layers", "status", "depth", unit=""),
        ex.Column("train", "train accuracy", "end", "train/accuracy"),
        ex.Column("float32", "in float32", "end", "train/float32_accuracy"),
        ex.Column("test", "test accuracy", "end", "test/accuracy"),
        ex.Column(
          "error",
          "largest error",
          "status",
          "certificate/largest_error",
          unit="",
        ),
        ex.Column(
          "lipschitz", "Lipschitz bound", "status", "lipschitz_bound", unit=""
        ),
        ex.Column("norm", "norm of weights", "status", "weight_norm", unit=""),
        ex.Column("built", "built in", "end", "time/build_seconds", unit="s"),
        ex.Column(
          "certified", "certified in", "end", "time/certify_seconds", unit="s"
        ),
      ),
      rows=tuple(
        _row(network, labels)
        for labels in ("random", "true")
        for network in NETWORKS
      ),
    ),
  ),
  figures=(
    ex.Profile(
      key="function",
      title="Network of Theorem 1 along its direction, 31 neighbouring images",
      xlabel="projection of an image on the direction",
      ylabel="output (the label)",
      traces=(_kinks("random"), _kinks("true")),
    ),
  ),
  verdicts=(
    _verdict("theorem1", "2n + d weights represent any function of n points"),
    _verdict("deep100", "depth k, width O(n / k) and O(n + d) weights suffice"),
    _verdict("mlp_3x512"),
    _verdict("mlp_1x512"),
  ),
  notes=(
    "n is the number of images, d = 28 x 28 x 3. Parameters per training image"
    " of the paper's networks: "
    + ", ".join(
      f"{cifar10.NAMES[model]} {parameters / _N:.1f}"
      for model, parameters in cifar10.PARAMETERS.items()
    )
    + f"; 2n + d weights are {2 + _D / _N:.2f}.",
    "The Lipschitz bound is for the function from standardized images to"
    " outputs, in Euclidean norms. For a constructed network it is the exact"
    " Lipschitz constant, and the output is the label or the one-hot label. For"
    " a trained network it is the product of the spectral norms of its layers,"
    " an upper bound on the constant, and the outputs are the logits. The norm"
    " is taken over all weights, thresholds and the direction together.",
    "Constructed networks are evaluated in float64. In float32, projections of"
    " different images coincide and sums cancel.",
    "The largest error is taken over all outputs at all training images.",
  ),
  train_examples=cifar10.TRAIN_EXAMPLES,
  stand_ins=cifar10.STAND_INS,
)
