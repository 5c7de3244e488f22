"""A minute of `imagenet_random.py`: a thin Inception V3 on images of 75 pixels.

  python -m rethink.prepare imagenet_smoke --folder=DIR --keep_sizes
  python -m rethink.main --config=configs/imagenet_smoke.py

DIR holds train/<class>/ and validation/<class>/ with a few images each.
"""

import ml_collections

from configs import imagenet_sample


def get_config() -> ml_collections.ConfigDict:
  """Random labels on the smallest images that the network takes."""
  config = imagenet_sample.get_config("random/75px/seed0")
  config.dataset = "imagenet_smoke"
  config.image_size = 75
  config.model = "inception_v3(auxiliary_weight=0.4, width=0.125)"
  config.batch_size = 16
  config.eval_batch_size = 16
  config.num_epochs = 4
  return config
