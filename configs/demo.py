"""A first experiment: networks fit random labels in about a minute.

The data are the 1,797 handwritten digits of 8x8 pixels that scikit-learn ships.
Networks learn the true labels and generalize. The same networks also fit random
labels and pure noise, where there is nothing to generalize.

  python -m rethink.prepare digits
  python -m rethink.sweep --config=configs/demo.py
"""

from configs import base
from rethink import experiments

MODELS = {
  "mlp_1x512": dict(model="mlp(widths=(512,))", learning_rate=0.05),
  "mlp_3x512": dict(model="mlp(widths=(512, 512, 512))", learning_rate=0.02),
  "inception": dict(
    model="inception(width=0.25)",
    learning_rate=0.05,
    schedule="exponential(decay=0.95)",
  ),
}
LABELS = {
  "true_labels": dict(corruptions=()),
  "random_labels": dict(corruptions=("random_labels()",)),
}
PIXELS = {
  "shuffled_pixels": dict(corruptions=("shuffled_pixels()",)),
  "random_pixels": dict(corruptions=("random_pixels()",)),
  "gaussian": dict(corruptions=("gaussian()",)),
}
RUNS = {
  **experiments.product(model=MODELS, data=LABELS),
  **experiments.product(model={"mlp_1x512": MODELS["mlp_1x512"]}, data=PIXELS),
}


def get_config(run: str = "mlp_1x512/true_labels"):
  """Returns the config of one run of the demo."""
  config = base.get_config()
  config.image_size = 8
  config.batch_size = 50
  config.num_epochs = 100
  config.stop_at_train_loss = 0.005
  config.schedule = "exponential(decay=0.99)"
  return experiments.select(config, RUNS, run)
