"""A minute of `imagenet_random.py`: a thin Inception V3 on digits, streamed.

python -m rethink.prepare digits
python -m rethink.main --config=configs/imagenet_smoke.py
"""

import ml_collections

from configs import imagenet_sample


def get_config() -> ml_collections.ConfigDict:
  """The small variant of `imagenet_sample.py`."""
  return imagenet_sample.get_config("smoke/random/75px/seed0")
