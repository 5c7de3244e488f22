"""Inception V3 on ImageNet 2012 (paper, sections 2 and 3); a base, true labels.

  python -m rethink.main --config=configs/imagenet.py

The paper says that it reuses the TensorFlow package for Inception V3, and
prints none of its numbers. Behind each field stands where it comes from:
  TF    that package in 2016, `inception_train.py`, `inception_model.py` and
        `inception_distributed_train.py`; that the paper kept it is a guess
  2a    read off Figure 2a
  ours  chosen here
"""

import ml_collections

from configs import base

AUGMENTATION = (  # TF
  "random_resized_crop()",
  "random_flip()",
  "color_jitter()",
)
DROPOUT = ("dropout(0.2)",)  # TF: 0.8 are kept, before the linear layer
WEIGHT_DECAY = ("weight_decay(0.00004)",)  # TF: of all kernels
# TF has it always; the paper does not speak of it. Ours: it is a regularizer,
# and goes with all the others.
LABEL_SMOOTHING = ("label_smoothing(0.1)",)
REGULARIZERS = AUGMENTATION + DROPOUT + WEIGHT_DECAY + LABEL_SMOOTHING


def get_config() -> ml_collections.ConfigDict:
  """Inception V3 with every regularizer."""
  config = base.get_config()
  config.dataset = "imagenet2012"  # paper
  config.test_split = "validation"  # paper
  config.pipeline = "stream"
  config.central_fraction = 0.875  # TF: evaluation; ours: no augmentation
  config.normalize = "symmetric"  # TF
  config.image_size = 299  # paper
  # TF: head of weight 0.4, epsilon of batch norm, which has no scale; initial
  # deviations are the model's own, also TF. Ours: averages look back on as many
  # images as TF's 0.9997 and, of the parameters, 0.9999 for a step of 32.
  config.model = (
    "inception_v3(auxiliary_weight=0.4, momentum=0.99, epsilon=0.001)"
  )
  config.dtype = "bfloat16"  # ours; TF: float32
  config.batch_size = 1024  # ours; TF: 32 a worker, of which the paper has 50
  config.drop_last = True  # ours; devices share every batch evenly
  config.num_epochs = 250  # 2a: 10 million steps, if each took 32 images
  config.optimizer = "rmsprop(decay=0.9, momentum=0.9, epsilon=1.0)"  # TF
  config.learning_rate = 0.045  # TF
  config.schedule = "exponential(decay=0.94, every_epochs=2)"  # TF
  config.regularizers = REGULARIZERS
  config.ema_decay = 0.997  # see the model
  config.eval_batch_size = 1024  # ours
  config.eval_every_epochs = 5  # ours: a clean pass is a third of an epoch
  return config
