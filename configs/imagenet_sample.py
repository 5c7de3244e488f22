"""Inception V3 on a few hundred photos in a folder: true and random labels.

  python -m rethink.prepare imagenet_sample --folder=DIR --keep_sizes
  python -m rethink.sweep --config=configs/imagenet_sample.py

For 448 photos of 64 classes, say; DIR holds train/<class>/*.JPEG and likewise
validation. 448 photos are 14 steps an epoch: averages over 10,000 steps, as
`imagenet.py` has them, would not have begun to move when the network is fitted,
and a fitted network would look unfitted.
"""

from configs import imagenet
from rethink import experiments as ex

LABELS = {
  "true": dict(corruptions=()),
  "random": dict(corruptions=("random_labels()",)),
}
RUNS = ex.product(labels=LABELS)


def get_config(run: str = "random"):
  """One run, by name; all fields that differ from `imagenet.py` are ours."""
  config = imagenet.get_config()
  config.dataset = "imagenet_sample"
  config.model = (
    "inception_v3(auxiliary_weight=0.4, momentum=0.9, epsilon=0.001)"
  )
  config.regularizers = ()
  config.ema_decay = 0.9
  config.dtype = "float32"
  config.batch_size = 32
  config.eval_batch_size = 32
  config.num_epochs = 100
  config.schedule = "exponential(decay=0.98, every_epochs=1)"
  config.stop_at_train_loss = 0.01
  config.eval_every_epochs = 2
  return ex.select(config, RUNS, run)
