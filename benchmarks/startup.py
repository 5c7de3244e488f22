"""Start-up time: `--help`, and compilation without and with a cache.

  python -m benchmarks.startup --rounds=5

Compilation is measured as a whole run of one epoch on 32 random images, without
imports: data, initialization, the first step, both evaluations, saving.
Processes without and with a persistent compilation cache
($JAX_COMPILATION_CACHE_DIR) take turns; an unmeasured process fills the cache.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import record

MODELS = ("mlp_1x512", "alexnet", "inception")


def compiling(model: str) -> float:
  """Returns the seconds of a run of one epoch, without imports."""
  from configs import table1_cifar10
  from rethink import signals
  from rethink.methods import runner
  from rethink.prepare import arrays, writer

  config = table1_cifar10.get_config(f"{model}/true/none/seed0")
  config.dataset, config.batch_size, config.num_epochs = "noise", 32, 1
  config.bookkeeping.tensorboard = False
  rng = np.random.default_rng(0)
  splits = {}
  for split in ("train", "test"):
    splits[f"x_{split}"] = rng.integers(0, 256, (32, 28, 28, 3), np.uint8)
    splits[f"y_{split}"] = np.arange(32) % 10
  with tempfile.TemporaryDirectory() as folder:
    np.savez(f"{folder}/noise.npz", **splits)
    writer.write("noise", arrays.source(f"{folder}/noise.npz"), folder)
    began = time.perf_counter()
    runner.execute(config, f"{folder}/run", folder, signals.StopFlag())
    return time.perf_counter() - began


def _python(*args: str, cache: str = "") -> str:
  environment = dict(os.environ)
  environment.pop("JAX_COMPILATION_CACHE_DIR", None)
  if cache:
    environment["JAX_COMPILATION_CACHE_DIR"] = cache
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  done = subprocess.run(
    [sys.executable, *args],
    env=environment,
    check=True,
    stdout=subprocess.PIPE,
    text=True,
  )
  return done.stdout


def main(argv: list[str] | None = None) -> None:
  """Measures what is missing and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--out", default="runs/benchmarks/startup.json")
  parser.add_argument("--compile_only", default="", help=argparse.SUPPRESS)
  args = parser.parse_args(argv)
  if args.compile_only:
    print(f"\n{compiling(args.compile_only)}")
    return
  kept = record.Record(args.out, {})

  def compile_in_child(model: str, cache: str) -> float:
    child = ("-m", "benchmarks.startup", f"--compile_only={model}")
    return float(_python(*child, cache=cache).splitlines()[-1])

  for number in range(args.rounds):
    if not kept.has(what="--help", round=number):
      began = time.perf_counter()
      # absl exits with 1 after printing help.
      command = [sys.executable, "-m", "rethink.main", "--help"]
      subprocess.run(command, capture_output=True, check=False)
      seconds = time.perf_counter() - began
      kept.add(what="--help", round=number, seconds=seconds)
  for model in args.models:
    with tempfile.TemporaryDirectory() as cache:
      if not kept.has(what=f"{model}, cached", round=args.rounds - 1):
        compile_in_child(model, cache)
      for number in range(args.rounds):
        for what, folder in (("cold", ""), ("cached", cache)):
          key = {"what": f"{model}, {what}", "round": number}
          if not kept.has(**key):
            kept.add(**key, seconds=compile_in_child(model, folder))
  whats = dict.fromkeys(sample["what"] for sample in kept.samples)
  print(f"\n{kept.headline()}\nn = {args.rounds}\n")
  record.show(
    ["what", "s"],
    [[w, record.spread(kept.values("seconds", what=w))] for w in whats],
  )


if __name__ == "__main__":
  main()
