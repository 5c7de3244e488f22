"""Base config: Inception V3 on ImageNet 2012 (paper, sections 2 and 3).

  python -m rethink.main --config=configs/imagenet.py

The paper says that it used the TensorFlow package for Inception V3, but gives
none of the settings. The comment behind each field says where it comes from:
  paper  the paper itself
  TF     that package in 2016 (`inception_train.py`, `inception_model.py` and
         `inception_distributed_train.py`), assuming that the paper kept it
  2a     read off Figure 2a
  ours   chosen here
"""

import ml_collections

from configs import base

AUGMENTATION = (  # TF
  "random_resized_crop()",
  "random_flip()",
  "color_jitter()",
)
DROPOUT = ("dropout(0.2)",)  # TF: keeps 0.8, before the linear layer
WEIGHT_DECAY = ("weight_decay(0.00004)",)  # TF: on all kernels
# TF always has it, and the paper does not mention it. Ours: it counts as a
# regularizer, on when all the others are.
LABEL_SMOOTHING = ("label_smoothing(0.1)",)
REGULARIZERS = AUGMENTATION + DROPOUT + WEIGHT_DECAY + LABEL_SMOOTHING


def get_config() -> ml_collections.ConfigDict:
  """Returns the config of Inception V3 with all regularizers, true labels."""
  config = base.get_config()
  config.dataset = "imagenet2012"  # paper
  config.test_split = "validation"  # paper
  config.pipeline = "stream"
  config.framing = "resize"
  config.central_fraction = 0.875  # TF: evaluation; ours: no augmentation
  config.normalize = "symmetric"  # TF
  config.image_size = 299  # paper
  # TF: auxiliary head with weight 0.4, epsilon of batch norm, no scale, and the
  # model's default initialization. Ours: momentum and `ema_decay`, which
  # average over as many images as TF's 0.9997 and 0.9999 with 32 images a step.
  config.model = (
    "inception_v3(auxiliary_weight=0.4, momentum=0.99, epsilon=0.001)"
  )
  config.dtype = "bfloat16"  # ours; TF: float32
  config.batch_size = 1024  # ours; TF: 32 per worker, and the paper has 50
  config.drop_last = True  # ours: every batch divides evenly among devices
  config.num_epochs = 250  # 2a: 10 million steps, if each took 32 images
  config.optimizer = "rmsprop(decay=0.9, momentum=0.9, epsilon=1.0)"  # TF
  config.learning_rate = 0.045  # TF
  config.schedule = "exponential(decay=0.94, every_epochs=2)"  # TF
  config.regularizers = REGULARIZERS
  config.ema_decay = 0.997  # ours, see the comment on the model
  config.eval_batch_size = 1024  # ours
  config.eval_every_epochs = 5  # ours: a clean pass is a third of an epoch
  return config
