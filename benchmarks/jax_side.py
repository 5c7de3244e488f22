"""The JAX sides of benchmarks/epoch.py, each in a process of its own."""

import argparse
import functools
import tempfile
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks import serve
from configs import table1_cifar10
from rethink import evaluate, models, settings, signals
from rethink.cpu import allocator, convolutions, pooling
from rethink.methods import method, train
from rethink.pipeline import preprocess
from rethink.storage import runs


class Rethink:
  """Our own run: its trainer's programs, called as `train.Trainer` does."""

  def __init__(self, config, data_dir: str):
    checked = settings.resolve(config)
    with tempfile.TemporaryDirectory() as workdir:
      run = runs.Run(workdir, checked.outcome, checked.bookkeeping)
      run.start()
      self._trainer = train.Trainer(
        method.Job(checked, run, data_dir, signals.StopFlag())
      )
    self._chunk = 1
    self.parameters = run.status["parameters"]

  def train(self) -> None:
    """Trains one epoch like `Trainer._epoch`, without saves and progress."""
    t = self._trainer
    end = t.step + t.steps_per_epoch
    while t.step < end:
      began = time.monotonic()
      stop = min(t.step + self._chunk, end)
      t.state = t.data.advance(t.static, t.traced, t.state, t.step, stop)
      jax.device_get((t.state.sums, t.state.bad_step))
      seconds = time.monotonic() - began
      self._chunk = evaluate.grow(stop - t.step, seconds, 5.0)
      t.step = stop

  def evaluate(self) -> None:
    """Evaluates the clean pass over the training images."""
    t = self._trainer
    t.data.clean(t.static, t.state, "train", lambda: None)


class Plain:
  """A first JAX loop: each step transfers a batch and reads the loss back."""

  def __init__(self, model: nn.Module, images, labels, batch_size: int):
    self._images, self._labels = images, labels
    self._batch_size = batch_size
    self._optimizer = optax.sgd(0.01, momentum=0.9)
    variables = model.init(
      jax.random.key(0), jnp.zeros((1, 28, 28, 3)), train=False
    )
    self._state = (
      variables["params"],
      variables.get("batch_stats", {}),
      self._optimizer.init(variables["params"]),
    )
    self.parameters = sum(x.size for x in jax.tree.leaves(variables["params"]))

    @jax.jit
    def step(state, images, labels):
      params, batch_stats, opt_state = state

      def loss_fn(params):
        logits, updated = model.apply(
          {"params": params, "batch_stats": batch_stats},
          preprocess.evaluation(images, 28),
          train=True,
          mutable=["batch_stats"],
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return loss.mean(), updated.get("batch_stats", {})

      value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
      (loss, batch_stats), grads = value_and_grad(params)
      updates, opt_state = self._optimizer.update(grads, opt_state)
      params = optax.apply_updates(params, updates)
      return (params, batch_stats, opt_state), loss

    @jax.jit
    def correct(state, images, labels):
      params, batch_stats, _ = state
      variables = {"params": params, "batch_stats": batch_stats}
      logits = model.apply(
        variables, preprocess.evaluation(images, 28), train=False
      )
      return (logits.argmax(-1) == labels).sum()

    self._step, self._correct = step, correct

  def train(self) -> None:
    """Trains one epoch; an incomplete last batch is left out."""
    order = np.random.default_rng().permutation(len(self._labels))
    for i in range(len(order) // self._batch_size):
      batch = order[i * self._batch_size : (i + 1) * self._batch_size]
      self._state, loss = self._step(
        self._state, self._images[batch], self._labels[batch]
      )
      float(loss)

  def evaluate(self) -> None:
    """Evaluates a clean pass, batch by batch."""
    for i in range(0, len(self._labels), self._batch_size):
      batch = slice(i, i + self._batch_size)
      int(self._correct(self._state, self._images[batch], self._labels[batch]))


def main() -> None:
  """Serves one side."""
  parser = argparse.ArgumentParser()
  for name in ("data", "data_dir", "dataset", "model", "side"):
    parser.add_argument(f"--{name}", required=True)
  parser.add_argument("--batch_size", type=int, required=True)
  args = parser.parse_args()
  data = np.load(args.data)
  config = table1_cifar10.get_config(f"{args.model}/true/none/seed0")
  config.dataset = args.dataset
  config.train_examples = len(data["labels"])
  config.batch_size = args.batch_size
  if args.side == "jax_plain":
    # The plain side uses JAX's own operations, not our faster ones for CPUs.
    convolutions.conv_general_dilated = lax.conv_general_dilated
    pool = functools.partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))
    pooling.max_pool = functools.partial(pool, padding="SAME")
    model = models.build(models.parse(config.model), 10, {})
    side = Plain(model, data["images"], data["labels"], args.batch_size)
  else:
    allocator.keep_freed_memory()  # as cli.configure_process does
    config.dtype = "bfloat16" if "bfloat16" in args.side else "float32"
    side = Rethink(config, args.data_dir)

  # Both functions end by reading a result, which waits for the device.
  serve.serve(
    side.train,
    side.evaluate,
    parameters=side.parameters,
    version=f"jax {jax.__version__}",
    device=jax.devices()[0].device_kind,
  )


if __name__ == "__main__":
  main()
