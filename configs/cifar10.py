"""The paper's set-up for CIFAR-10 (appendix A); a base, small Inception.

  python -m rethink.main --config=configs/cifar10.py

Batch size 128 follows from the spacing of the points in Figures 1a and 2b; the
paper does not state it, nor how long the runs are.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  """Small Inception, true labels, no regularizer."""
  config = base.get_config()
  config.dataset = "cifar10"
  config.image_size = 28  # centre crop of 32
  config.model = "inception()"
  config.learning_rate = 0.1  # 0.01 for AlexNet and the MLPs
  config.schedule = "exponential(decay=0.95, every_epochs=1)"
  config.num_epochs = 100
  config.stop_at_train_loss = 0.001  # never at the fit threshold, 0.05
  return config
