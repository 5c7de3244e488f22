"""Base config of runs that solve one linear system instead of training.

  python -m rethink.main --config=configs/kernels.py

By default it fits a Gaussian kernel, whose bandwidth is the median distance, to
the digits that scikit-learn ships. All fields outside `bookkeeping` change the
result and are part of a run's fingerprint. The fields on data are explained in
`configs/base.py`.
"""

from typing import Any

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  """Returns the config that interpolates the digits."""
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

  # Number of training examples held out for evaluation, in place of the test
  # split. Bandwidths may be chosen by them.
  config.held_out = 0

  # Model: a function that fits the one-hot labels.
  config.features = ()  # steps, applied in order; () gives pixels in [0, 1]
  config.kernel = "gaussian(bandwidth=0.0)"  # 0 stands for the median distance
  config.ridge = 0.0  # added to the diagonal of K
  config.interpolant = "min_norm()"  # the paper's Eq. (3)

  # Solution.
  config.preconditioner = "cholesky(dtype='float32')"
  # Largest |y - (K + ridge I) alpha| / |y| allowed for any class.
  config.tolerance = 1e-10
  config.max_rounds = 100  # largest number of products with K

  book = config.bookkeeping = ml_collections.ConfigDict()
  book.platform = training.bookkeeping.platform
  # Number of training points used for the saved eigenvalues of K; 0 saves none.
  book.spectrum_points = 1000
  book.tile_rows = 0  # rows of a tile of K; 0 chooses by the device
  return config
