"""Measures how long saving blocks training, and how long restoring takes.

  python -m benchmarks.checkpoint --rounds=5

`blocked` is the time that training waits for one save; the rest of the save
runs in the background. Runs save every 300 s, where 1 % would be 3 s, and every
ten epochs. The last column is the length of an epoch at which the latter costs
1 %.
"""

import argparse
import statistics
import tempfile
import time

import jax
import jax.numpy as jnp

from benchmarks import record
from configs import table1_cifar10
from rethink import compiled, schedules, settings, train_step
from rethink.pipeline import resident
from rethink.storage import checkpoints

MODELS = ("mlp_3x512", "inception")
_IDENTITY = {"config": "benchmark", "data": "benchmark", "commit": "benchmark"}


def _state(model: str) -> train_step.TrainState:
  config = table1_cifar10.get_config(f"{model}/true/none/seed0")
  checked = settings.resolve(config)
  replicated, sharded = resident.shardings()
  static = compiled.static_arguments(checked, 10, sharded)
  keys = compiled.keys(0)
  length = schedules.Length(jnp.int32(1), jnp.int32(1))
  inputs = compiled.traced_arguments(checked, length, keys.noise)
  return train_step.compile_initializer(static, 3, replicated)(
    inputs, keys.init
  )


def measure(state: train_step.TrainState) -> dict[str, float]:
  """Measures one save and one restore.

  Returns:
    `blocked_seconds` until training continues, `saved_seconds` until the
    manifest is on disk, and `restored_seconds` from an opened run directory to
    a verified state.
  """
  with tempfile.TemporaryDirectory() as folder:
    saved = checkpoints.Checkpoints(folder, 2, _IDENTITY)
    began = time.perf_counter()
    saved.save(1, state)
    blocked = time.perf_counter() - began
    saved.close()
    whole = time.perf_counter() - began
    opened = checkpoints.Checkpoints(folder, 2, _IDENTITY)
    began = time.perf_counter()
    jax.block_until_ready(opened.restore(state))
    restored = time.perf_counter() - began
    opened.close()
  return {
    "blocked_seconds": blocked,
    "saved_seconds": whole,
    "restored_seconds": restored,
  }


def main(argv: list[str] | None = None) -> None:
  """Measures what is missing and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--out", default="runs/benchmarks/checkpoint.json")
  args = parser.parse_args(argv)
  kept = record.Record(args.out, {})
  states = {model: _state(model) for model in args.models}
  measure(states[args.models[0]])  # the first one starts Orbax's threads
  for number in range(args.rounds):
    for model, state in states.items():
      if not kept.has(model=model, round=number):
        size = sum(x.nbytes for x in jax.tree.leaves(state))
        kept.add(model=model, round=number, bytes=size, **measure(state))
  rows = []
  for model in args.models:
    size = kept.values("bytes", model=model)[0]
    columns = [
      kept.values(f"{name}_seconds", model=model)
      for name in ("blocked", "saved", "restored")
    ]
    blocked = statistics.median(columns[0])
    rows.append(
      [
        model,
        f"{size / 1e6:.1f}",
        *map(record.spread, columns),
        f"{blocked / 300:.3%}",
        f"{10 * blocked:.2g}",
      ]
    )
  print(f"\n{kept.headline()}\nn = {args.rounds}\n")
  header = ["model", "MB", "blocked s", "saved s", "restored s"]
  record.show([*header, "of 300 s", "1 % at epochs of (s)"], rows)


if __name__ == "__main__":
  main()
