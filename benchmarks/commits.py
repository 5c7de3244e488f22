"""Compares the training speed of two checkouts, taking turns.

  python -m benchmarks.commits --other=DIR --dataset=cifar10 --rounds=5

DIR is another checkout of this project; both use this environment. Each sample
is a run of `rethink.main` in a process of its own. Its rows say how many images
a second it trained, compilation left out.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from benchmarks import record

# Runs of configs/table1_cifar10.py and the training images of each.
IMAGES = {"mlp_1x512": 20_000, "alexnet": 4_000, "inception": 1_000}
_EPOCHS = 5


def images_per_second(
  checkout: str, model: str, dataset: str, data_dir: str, images: int
) -> float:
  """Returns the median training speed of the epochs after the first one."""
  with tempfile.TemporaryDirectory() as folder:
    fields = {
      "dataset": dataset,
      "train_examples": images,
      "num_epochs": _EPOCHS,
      "eval_train_examples": 100,
      "bookkeeping.tensorboard": False,
      "bookkeeping.progress": False,
    }
    subprocess.run(
      [
        sys.executable,
        *("-m", "rethink.main"),
        f"--config=configs/table1_cifar10.py:{model}/random/wd/seed0",
        f"--data_dir={os.path.abspath(data_dir)}",
        f"--workdir={folder}",
        *(f"--config.{field}={value}" for field, value in fields.items()),
      ],
      cwd=checkout,
      # Before an installed package, which may be another checkout.
      env={**os.environ, "PYTHONPATH": os.path.abspath(checkout)},
      check=True,
      stdout=subprocess.DEVNULL,
    )
    lines = pathlib.Path(folder, "metrics.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  return statistics.median(row["time/images_per_second"] for row in rows[1:])


def main() -> None:
  """Measures what the file does not have yet, then prints the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--other", required=True)
  parser.add_argument("--dataset", default="cifar10")
  parser.add_argument(
    "--data_dir", default=os.path.expanduser("~/tensorflow_datasets")
  )
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--models", nargs="*", default=list(IMAGES))
  parser.add_argument("--out", default="runs/benchmarks/commits.json")
  args = parser.parse_args()
  other = subprocess.check_output(
    ["git", "rev-parse", "HEAD"], cwd=args.other, text=True
  ).strip()
  kept = record.Record(args.out, {"other": other, "dataset": args.dataset})
  sides = {"this": ".", "other": args.other}
  for turn in range(args.rounds):
    for model in args.models:
      # The first of a round has the cooler processor, so that changes, too.
      for side in sorted(sides, reverse=bool(turn % 2)):
        if not kept.has(turn=turn, model=model, side=side):
          speed = images_per_second(
            sides[side], model, args.dataset, args.data_dir, IMAGES[model]
          )
          kept.add(turn=turn, model=model, side=side, images_per_second=speed)
  print(kept.headline(), f"; other: {other[:7]}", sep="")
  rows = []
  for model in args.models:
    this, base = (
      kept.values("images_per_second", model=model, side=side)
      for side in ("this", "other")
    )
    ratios = [a / b for a, b in zip(this, base, strict=False)]
    rows.append(
      (model, *(record.spread(values) for values in (this, base, ratios)))
    )
  record.show(("model", "images/s, this", "other", "ratio"), rows)


if __name__ == "__main__":
  main()
