"""A smoke run of a minute: a thin Inception V3 on streamed digits.

python -m rethink.prepare digits
python -m rethink.main --config=configs/imagenet_smoke.py
"""

import ml_collections

from configs import imagenet_sample


def get_config() -> ml_collections.ConfigDict:
  """Returns the smoke variant of `imagenet_sample.py` with random labels."""
  return imagenet_sample.get_config("smoke/random/75px/seed0")
