"""Inception V3 on a few hundred photos in a folder: true and random labels.

  python -m rethink.prepare imagenet_sample --folder=DIR --keep_sizes \\
    --allow_unseen_classes
  python -m rethink.sweep --config=configs/imagenet_sample.py --only='*/75px/*'
  python -m rethink.report --config=configs/imagenet_sample.py

A run is named labels/size/seed. DIR contains train/<class>/*.JPEG and
validation/<class>/*.JPEG; the committed runs have 448 training photos, and
validation photos of other classes than these. The size of 75 pixels, the
smallest that the network accepts, is for a CPU. An epoch of 448 photos has 7
steps. The averages of `imagenet.py`, over hundreds of steps, would hardly have
moved when the network has fitted, and a fitted network would look unfitted; so
they are shorter here. The smoke variant trains a thin network on enlarged
digits.
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
  """Returns the config of one run, by name.

  All fields that differ from `imagenet.py` were chosen here.
  """
  config = imagenet.get_config()
  config.dataset = "imagenet_sample"
  config.model = (
    "inception_v3(auxiliary_weight=0.4, momentum=0.9, epsilon=0.001)"
  )
  config.regularizers = ()
  config.ema_decay = 0.9
  config.dtype = "float32"
  # At 75 pixels the last grid has a single pixel. With 32 images, batch
  # statistics of 32 numbers were too noisy to fit everything.
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
    "Does the network of Table 2, reading images from disk as for ImageNet, fit"
    " random labels of a few hundred photos?"
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
    "A few hundred photos are not ImageNet, so nothing here can be compared"
    " with Table 2.",
    "The committed runs train on one photo of each of 448 classes and test on"
    " 64 photos of 64 other classes. Therefore test accuracy is 0 whatever is"
    " learned, and true labels are as arbitrary as random ones.",
    "Parameters and batch statistics are averaged over tens of steps here. With"
    " the longer averages of Table 2 a fitted network would look unfitted.",
  ),
)
