"""A Flax NNX module as the model of a run.

  PYTHONPATH=docs/examples python -m rethink.main --config=configs/base.py \
    --config.model="nnx_model:ConvNet(features=16)" --workdir=runs/nnx_model
"""

import jax
from flax import nnx


class ConvNet(nnx.Module):
  """Convolution, batch norm, dropout, linear.

  The constructor is given `num_classes` and `rngs`, and, because it asks for
  it, `image_shape`: (height, width, channels). Other arguments stand in
  config.model. Batch norm and dropout know the mode by themselves:
  `Module.train()` is called before training steps, `Module.eval()` before clean
  passes.
  """

  def __init__(
    self,
    num_classes: int,
    image_shape: tuple[int, int, int],
    rngs: nnx.Rngs,
    features: int = 16,
    dropout_rate: float = 0.2,
  ):
    height, width, channels = image_shape
    self.conv = nnx.Conv(channels, features, (3, 3), rngs=rngs)
    # Flax's default momentum, 0.99, lags on small data.
    self.norm = nnx.BatchNorm(features, momentum=0.9, rngs=rngs)
    self.dropout = nnx.Dropout(dropout_rate, rngs=rngs)
    self.linear = nnx.Linear(height * width * features, num_classes, rngs=rngs)

  def __call__(self, images: jax.Array) -> jax.Array:
    x = nnx.relu(self.norm(self.conv(images)))
    return self.linear(self.dropout(x.reshape(len(x), -1)))
