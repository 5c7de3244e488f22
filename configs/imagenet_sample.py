"""Inception V3 on a few hundred photos in a folder: true and random labels.

  python -m rethink.prepare imagenet_sample --folder=DIR --keep_sizes
  python -m rethink.sweep --config=configs/imagenet_sample.py --only='*/75px/*'
  python -m rethink.report --config=configs/imagenet_sample.py

A run is labels/size/seed. For 448 photos, say; DIR holds
train/<class>/*.JPEG and likewise validation. 75 pixels, the fewest that the
network takes, are for a CPU. 448 photos are 7 steps an epoch: averages over
10,000 steps, as `imagenet.py` has them, would not have begun to move when the
network is fitted, and a fitted network would look unfitted. The small variant
is a thin network on digits, drawn larger.
"""

from configs import imagenet
from rethink import experiments as ex

LABELS = {
  "true": dict(corruptions=()),
  "random": dict(corruptions=("random_labels()",)),
}
SIZES = {"299px": dict(image_size=299), "75px": dict(image_size=75)}
RUNS = {
  **ex.product(labels=LABELS, size=SIZES, seed=ex.SEEDS),
  **ex.smoke(
    ex.product(
      labels={"random": LABELS["random"]},
      size={"75px": SIZES["75px"]},
      seed=ex.SEEDS,
    ),
    dataset="digits",
    test_split="test",
    model="inception_v3(auxiliary_weight=0.4, momentum=0.9, width=0.125)",
    train_examples=64,
    eval_train_examples=32,
    learning_rate=0.01,
    batch_size=16,
    num_epochs=4,
  ),
}


def get_config(run: str = "random/299px/seed0"):
  """One run, by name; all fields that differ from `imagenet.py` are ours."""
  config = imagenet.get_config()
  config.dataset = "imagenet_sample"
  config.model = (
    "inception_v3(auxiliary_weight=0.4, momentum=0.9, epsilon=0.001)"
  )
  config.regularizers = ()
  config.ema_decay = 0.9
  config.dtype = "float32"
  # At 75 pixels the last grid has one pixel: with 32 images, statistics of 32
  # numbers are too noisy to fit everything.
  config.batch_size = 64
  config.eval_batch_size = 64
  config.num_epochs = 150
  config.optimizer = "sgd(momentum=0.9)"
  config.learning_rate = 0.05
  config.schedule = "exponential(decay=0.97, every_epochs=1)"
  config.stop_at_train_loss = 0.01
  config.eval_every_epochs = 2
  return ex.select(config, RUNS, run)


REPORT = ex.Report(
  title="Inception V3 on a few hundred photos",
  source="",
  question=(
    "Does the network of Table 2, fed from disk as on ImageNet, fit random"
    " labels of the photos at hand?"
  ),
  tables=(
    ex.Table(
      key="fit",
      title="Inception V3 on photos, without explicit regularizers",
      heads=("labels", "pixels"),
      columns=(
        ex.Column("train", "top-1 train", "end", "train/accuracy", "%", 1),
        ex.Column(
          "train5", "top-5 train", "end", "train/top5_accuracy", "%", 1
        ),
        ex.Column("loss", "train loss", "end", "train/loss", "nats"),
        ex.Column("test", "top-1 test", "end", "test/accuracy", "%", 1),
      ),
      rows=tuple(
        ex.Row((labels, size.removesuffix("px")), f"{labels}/{size}")
        for labels in LABELS
        for size in SIZES
      ),
    ),
  ),
  figures=(
    ex.Curves(
      key="accuracy",
      title="Train accuracy at 75 pixels",
      ylabel="top-1 train accuracy (%, clean pass)",
      lines=tuple(
        ex.Line(f"{labels} labels", f"{labels}/75px", "train/accuracy")
        for labels in LABELS
      ),
      unit="%",
    ),
  ),
  notes=(
    "A few hundred photos are no ImageNet: nothing here is to be compared with"
    " Table 2.",
    "The photos of the committed runs are one of each of 448 classes, and 64 of"
    " 64 other classes to be tested on. Test accuracy is 0 therefore, whatever"
    " is learned, and true labels are as arbitrary as random ones.",
    "Averages of parameters and of batch statistics are over tens of steps"
    " here; over the thousands of Table 2 a fitted network would look"
    " unfitted.",
  ),
)
