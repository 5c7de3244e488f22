"""Seconds per epoch of ours, a plain JAX loop, and PyTorch in two versions.

  python -m benchmarks.epoch --dataset=cifar10 --examples=50000 --rounds=5

The sides train the same network (equal parameter counts are checked) on the
same images. Each side has its own process; all processes of a model are warmed
up before the first measured epoch, and take turns. `epoch` is training plus a
clean pass over the training images, and `train` is training alone. `train CPU`
is the CPU time of the process's threads (without a loader's worker), which is
the better number on a machine that others use. The JSON file is written after
each epoch; running the same command again adds missing samples. --torch_python
names the interpreter of an environment that has PyTorch.
"""

import argparse
import sys
import tempfile

import numpy as np

from benchmarks import peers, record
from rethink import cli
from rethink.pipeline import datasets

MODELS = ("mlp_1x512", "alexnet", "inception")
SIDES = (
  "rethink",
  "rethink_bfloat16",
  "jax_plain",
  "torch_demo",
  "torch_resident",
  "torch_resident_compiled",
  "torch_resident_compiled_bfloat16",
)


def start(side: str, model: str, data: str, args) -> peers.Peer:
  """Starts a side, which trains and evaluates one epoch per line of input."""
  if side.startswith("torch"):
    program = [args.torch_python, str(peers.ROOT / "benchmarks/torch_side.py")]
  else:
    program = [sys.executable, "-m", "benchmarks.jax_side"]
    program += [f"--dataset={args.dataset}", f"--data_dir={args.data_dir}"]
  given = {
    "data": data,
    "model": model,
    "side": side,
    "batch_size": args.batch_size,
  }
  return peers.Peer(
    program + [f"--{name}={value}" for name, value in given.items()]
  )


def measure(model: str, data: str, args, kept: record.Record) -> None:
  """Measures the missing epochs of one model, the sides taking turns."""
  missing = [
    (number, side)
    for number in range(args.rounds)
    for side in args.sides
    if not kept.has(model=model, side=side, round=number)
  ]
  running: dict[str, peers.Peer] = {}
  try:
    for side in dict.fromkeys(side for _, side in missing):
      try:
        running[side] = start(side, model, data, args)
      except ChildProcessError as error:
        print(f"{model}, {side}: left out, {error}", file=sys.stderr)
        continue
      counts = {s.facts["parameters"] for s in running.values()}
      assert len(counts) == 1, f"{model}: the sides have {counts} parameters"
    for number, side in missing:
      if side in running:
        process = running[side]
        kept.add(
          model=model,
          side=side,
          round=number,
          **process.facts,
          **process.ask("epoch"),
        )
  finally:
    for process in running.values():
      process.close()


def show(kept: record.Record, args) -> None:
  """Prints medians, ranges and ratios to our side."""
  rows = []
  for model in args.models:
    for side in args.sides:
      key = {"model": model, "side": side}
      train = kept.values("train_seconds", **key)
      epoch = kept.values("epoch_seconds", **key)
      ours = kept.values("epoch_seconds", model=model, side=args.sides[0])
      ratio = f"{np.median(epoch) / np.median(ours):.2f}" if epoch else "-"
      cpu = kept.values("train_cpu_seconds", **key)
      seconds = map(record.spread, (train, cpu, epoch))
      rows.append([model, side, *seconds, ratio])
  print(f"\n{kept.headline()}\n{args.examples} examples, n = {args.rounds}\n")
  header = ["model", "side", "train s", "train CPU s", "epoch s"]
  record.show([*header, f"epoch / {args.sides[0]}"], rows)


def main(argv: list[str] | None = None) -> None:
  """Measures what is missing and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
  parser.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
  parser.add_argument("--examples", type=int, default=50_000)
  parser.add_argument("--batch_size", type=int, default=128)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--dataset", default="cifar10")
  parser.add_argument("--data_dir", default=None)
  parser.add_argument("--torch_python", default=sys.executable)
  parser.add_argument("--out", default="runs/benchmarks/epoch.json")
  args = parser.parse_args(argv)
  args.data_dir = cli.data_dir(args.data_dir)
  loaded = datasets.load(args.dataset, args.data_dir)
  train = datasets.subset(
    loaded.splits["train"],
    args.examples,
    0,
    loaded.info.num_classes,
    balanced=False,
  )
  fields = ("examples", "batch_size", "dataset")
  kept = record.Record(args.out, {name: vars(args)[name] for name in fields})
  with tempfile.TemporaryDirectory() as folder:
    data = f"{folder}/images.npz"
    np.savez(data, images=train.image, labels=train.label)
    for model in args.models:
      measure(model, data, args, kept)
  show(kept, args)


if __name__ == "__main__":
  main()
