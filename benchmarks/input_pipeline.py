"""Images per second of the stream pipeline, of tf.data, and of decoding alone.

  python -m benchmarks.input_pipeline --dataset=imagenet_sample \\
    --tf_python=python

The sides do the same work and take turns of five seconds each. On a machine
that others use, compare images per CPU second (user and system time of all
threads).
"""

import argparse
import pathlib
import resource
import tempfile
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from benchmarks import peers, record
from rethink import cli, example
from rethink.pipeline import cache, crops, decoding, loader, order

SECONDS = 5
SIDES = ("decode", "random_crop", "central", "cache")
TF_SIDES = ("random_crop", "central")


def _cpu() -> float:
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_utime + usage.ru_stime


def _measured(batches: Iterator[int]) -> record.Sample:
  """Reads an endless iterator of batch sizes for SECONDS and counts images."""
  next(batches)
  began, worked, count = time.perf_counter(), _cpu(), 0
  while time.perf_counter() - began < SECONDS:
    count += next(batches)
  return {
    "images": count,
    "seconds": time.perf_counter() - began,
    "cpu_seconds": _cpu() - worked,
  }


def _sides(
  split: decoding.Split, size: int, batch_size: int, threads: int, folder: str
) -> dict[str, Callable[[], Iterator[int]]]:
  """Returns, for each side, a function that starts its endless iterator."""
  central = decoding.Decoded(split, crops.Central(size), 0, threads)
  random_crops = decoding.Decoded(split, crops.RandomCrop(size), 0, threads)
  cached = cache.open_cache(central, folder)
  info = split.info._replace(shape=(size, size, 3))
  ids, label = split.entries.id, split.entries.label
  labels = example.Labels(ids, label, label)
  plan = order.Epochs(ids, 0, batch_size, 10**6, drop_last=True)

  def streamed(images) -> Iterator[int]:
    batches = loader.Batches(
      plan, labels, images, (), example.Context(0, info, size)
    )
    for batch in loader.iterate(batches):
      yield len(batch.mask)

  def decoded() -> Iterator[int]:
    found = split.read(range(len(ids)))
    data = [np.frombuffer(row[split.keys.image], np.uint8) for _, row in found]
    while True:
      for one in data:
        cv2.imdecode(one, cv2.IMREAD_COLOR_RGB)
        yield 1

  return {
    "decode": decoded,
    "random_crop": lambda: streamed(random_crops),
    "central": lambda: streamed(central),
    "cache": lambda: streamed(cached),
  }


def main(argv: list[str] | None = None) -> None:
  """Measures what is missing and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--dataset", default="imagenet_sample")
  parser.add_argument("--split", default="train")
  parser.add_argument("--data_dir", default=None)
  parser.add_argument("--image_size", type=int, default=299)
  parser.add_argument("--batch_size", type=int, default=64)
  parser.add_argument("--images", type=int, default=2000, help="at most")
  parser.add_argument("--threads", type=int, default=2)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--tf_python", default="", help="has TensorFlow")
  parser.add_argument("--out", default="runs/benchmarks/input_pipeline.json")
  args = parser.parse_args(argv)
  settings = {
    k: v
    for k, v in vars(args).items()
    if k
    in ("dataset", "split", "image_size", "batch_size", "images", "threads")
  }
  kept = record.Record(args.out, settings)
  data_dir = cli.data_dir(args.data_dir)
  split = decoding.open_split(args.dataset, data_dir, args.split)
  split = split.take(np.arange(min(args.images, len(split.entries.id))))
  with tempfile.TemporaryDirectory() as folder:
    sides = _sides(
      split, args.image_size, args.batch_size, args.threads, folder
    )
    theirs = _start_tf(args, split, folder) if args.tf_python else None
    for number in range(args.rounds):
      for side in SIDES:
        if not kept.has(side=side, round=number):
          kept.add(side=side, round=number, **_measured(sides[side]()))
      for side in TF_SIDES if theirs else ():
        name = f"tf.data {side}"
        if not kept.has(side=name, round=number):
          sample = theirs.ask(side)
          kept.add(side=name, round=number, **sample)
    if theirs:
      theirs.close()
  _show(kept)


def _start_tf(args, split: decoding.Split, folder: str) -> peers.Peer:
  found = split.read(split.entries.position.tolist())
  for i, (_, row) in enumerate(found):
    data = row[split.keys.image]
    (pathlib.Path(folder) / f"{i:06d}.jpg").write_bytes(data)
  script = str(peers.ROOT / "benchmarks" / "tf_side.py")
  sizes = [f"{args.image_size}", f"{args.batch_size}"]
  peer = peers.Peer([args.tf_python, script, folder, *sizes])
  print(f"tf.data: {peer.facts}", flush=True)
  return peer


def _show(kept: record.Record) -> None:
  print(kept.headline())
  rows = []
  for side in (*SIDES, *(f"tf.data {side}" for side in TF_SIDES)):
    samples = [s for s in kept.samples if s["side"] == side]
    rows.append(
      (
        side,
        str(len(samples)),
        record.spread([s["images"] / s["seconds"] for s in samples]),
        record.spread([s["images"] / s["cpu_seconds"] for s in samples]),
      )
    )
  record.show(("side", "n", "images/s", "images per CPU second"), rows)


if __name__ == "__main__":
  main()
