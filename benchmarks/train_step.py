"""Images per second of Inception V3's train step, with and without its input.

  python -m benchmarks.train_step --dataset=imagenet_sample \\
    --torch_python=python

The sides take turns of --steps steps, each after --warm_steps that do not
count. The latter use up the prefetched batches, so that the input is measured
too.

  synthetic    our step on one batch that stays on the device
  streamed     our step on the batches of the stream path, from JPEG
  cached       likewise, from the cache of frames
  torch        torchvision's network on one batch that stays on the device,
               bfloat16 and compiled as --torch_compiled says, channels_last

All sides train with momentum SGD and the auxiliary head, without dropout.
--batch_size is the global batch size. torchvision's batch norm has scales, ours
has none.
"""

import argparse
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

# Leaves memory of the GPU to PyTorch.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import peers, record
from configs import imagenet
from rethink import cli, compiled, schedules, settings, train_step
from rethink.pipeline import loader, resident, stream_data

SIDES = ("synthetic", "streamed", "cached")


def _config(args) -> Any:
  config = imagenet.get_config()
  config.dataset = args.dataset
  config.image_size = args.image_size
  config.batch_size = config.eval_batch_size = args.batch_size
  config.dtype = args.dtype
  config.model = f"inception_v3(auxiliary_weight=0.4, width={args.width})"
  config.optimizer = "sgd(momentum=0.9)"
  config.regularizers = ()
  config.ema_decay = 0.0
  config.num_epochs = 10**6
  return config


class Ours:
  """Our train step and its inputs.

  Attributes:
    parameters: number of parameters of the network.
  """

  def __init__(self, args, folder: str):
    """Opens the data; decoded images are cached in `folder`."""
    data_dir = cli.data_dir(args.data_dir)
    replicated, self._sharded = resident.shardings()
    self._feeds: dict[str, Callable] = {}
    for side, cache in (("streamed", ""), ("cached", folder)):
      config = _config(args)
      config.bookkeeping.cache_dir = cache
      known = settings.resolve(config)
      data = stream_data.open_data(known, data_dir)
      if cache:
        data = data.cached(config, lambda: False)
      self._feeds[side] = self._feed(data, known)
    static = compiled.static_arguments(known, 1000, self._sharded)
    length = schedules.Length(jnp.int32(1), jnp.int32(1))
    self._inputs = compiled.traced_arguments(known, length, jax.random.key(0))
    self._step = train_step.compile_train_step(static)
    create = train_step.compile_initializer(static, 3, replicated)
    self._state = create(self._inputs, jax.random.key(0))
    self.parameters = sum(x.size for x in jax.tree.leaves(self._state.params))
    shape = (args.batch_size, args.image_size, args.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = np.arange(args.batch_size, dtype=np.int32) % 1000
    batch = resident.Resident(
      *(jax.device_put(x, self._sharded) for x in (images, labels, labels))
    )
    self._feeds["synthetic"] = lambda: ((batch, None) for _ in iter(int, 1))
    self._args = args

  def _feed(self, data, known) -> Callable:
    def start():
      batches = loader.iterate(stream_data.training(data, known))
      return loader.to_devices(batches, self._sharded)

    return start

  def measure(self, side: str) -> record.Sample:
    """Measures `--steps` steps after the warm-up."""
    batches, steps = self._feeds[side](), self._args.steps
    self._train(batches, self._args.warm_steps)
    began = time.perf_counter()
    self._train(batches, steps)
    seconds = time.perf_counter() - began
    batches.close()
    return {"images": steps * self._args.batch_size, "seconds": seconds}

  def _train(self, batches, steps: int) -> None:
    for _ in range(steps):
      batch, _ = next(batches)
      self._state = self._step(self._state, batch, self._inputs)
      jax.block_until_ready(
        self._state.step
      )  # else asynchronous steps would run past the clock


def _start_torch(args) -> peers.Peer:
  given = ("image_size", "batch_size", "dtype", "steps")
  script = str(peers.ROOT / "benchmarks" / "torch_inception.py")
  command = [args.torch_python, script]
  command += [f"--{name}={getattr(args, name)}" for name in given]
  peer = peers.Peer(command + (["--compiled"] if args.torch_compiled else []))
  print(peer.facts, file=sys.stderr)
  return peer


def main(argv: list[str] | None = None) -> None:
  """Measures what is missing and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--dataset", default="imagenet_sample")
  parser.add_argument("--data_dir", default=None)
  parser.add_argument("--image_size", type=int, default=299)
  parser.add_argument("--batch_size", type=int, default=256)
  parser.add_argument("--width", type=float, default=1.0)
  parser.add_argument("--dtype", default="bfloat16")
  parser.add_argument("--steps", type=int, default=20)
  parser.add_argument("--warm_steps", type=int, default=12)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--torch_python", default="", help="has torchvision")
  parser.add_argument("--torch_compiled", action="store_true")
  parser.add_argument("--out", default="runs/benchmarks/train_step.json")
  args = parser.parse_args(argv)
  names = ["dataset", "image_size", "batch_size", "width", "dtype", "steps"]
  names += ["warm_steps", "torch_compiled"]
  settings_used = {name: getattr(args, name) for name in names}
  settings_used["device"] = jax.devices()[0].device_kind
  kept = record.Record(args.out, settings_used)
  with tempfile.TemporaryDirectory() as folder:
    ours = Ours(args, folder)
    sides = {side: functools.partial(ours.measure, side) for side in SIDES}
    theirs = _start_torch(args) if args.torch_python else None
    if theirs:
      sides["torch"] = functools.partial(theirs.ask, "steps")
    for number in range(args.rounds):
      for side, measure in sides.items():
        if not kept.has(side=side, round=number):
          kept.add(side=side, round=number, **measure())
    if theirs:
      theirs.close()
  print(f"{kept.headline()}\n{settings_used}, {ours.parameters:,} parameters\n")
  speeds = {
    side: [
      s["images"] / s["seconds"] for s in kept.samples if s["side"] == side
    ]
    for side in sides
  }
  base = float(np.median(speeds["synthetic"]))
  record.show(
    ("side", "n", "images/s", "of synthetic"),
    [
      (
        side,
        str(len(x)),
        record.spread(x),
        f"{np.median(x) / base:.2f}",
      )
      for side, x in speeds.items()
    ],
  )


if __name__ == "__main__":
  main()
