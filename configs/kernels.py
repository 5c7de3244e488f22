"""Every field of a run that solves one linear system; a base for others.

  python -m rethink.main --config=configs/kernels.py

A Gaussian kernel, its bandwidth the median distance, on the digits that
scikit-learn ships. Fields outside `bookkeeping` change the result and make the
fingerprint of a run; those of the data are as in `configs/base.py`.
"""

from typing import Any

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  """Interpolation of the digits."""
  config = ml_collections.ConfigDict()
  config.method = "interpolate"

  # Data.
  training: Any = base.get_config()
  for field in (
    "dataset",
    "train_split",
    "test_split",
    "skip_damaged",
    "train_examples",
    "balanced_subset",
    "image_size",
    "data_seed",
    "corruptions",
  ):
    config[field] = training[field]

  # So many training examples are not fitted but tested on, instead of the test
  # split: what bandwidths may be chosen by.
  config.held_out = 0

  # Model: a function that fits the one-hot labels.
  config.features = ()  # calls in order; () is raw pixels in [0, 1]
  config.kernel = "gaussian(bandwidth=0.0)"  # 0 is the median distance
  config.ridge = 0.0  # added to the diagonal of K
  config.interpolant = "min_norm()"  # the paper's Eq. (3)

  # Solution.
  config.preconditioner = "cholesky(dtype='float32')"
  config.tolerance = 1e-10  # largest |y - (K + ridge I) alpha| / |y| of a class
  config.max_rounds = 100  # products with K

  book = config.bookkeeping = ml_collections.ConfigDict()
  book.platform = training.bookkeeping.platform
  book.spectrum_points = 1000  # of which K's eigenvalues are saved; 0 for none
  book.tile_rows = 0  # rows of a tile of K; 0 is by the device
  return config
