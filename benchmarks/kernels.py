"""Kernel interpolation of n images: this package against its peers, in one run.

  python benchmarks/kernels.py --n=8000 --data_dir=DIR [--rounds=3]

Each side runs in a process of its own, in turns, solves twice (the first time
compiles our programs), and reports seconds, its peak of resident memory, how
much of that came after imports and data, and the residual of its solution,
measured alike in float64. On a CPU the peer is scikit-learn's KernelRidge in
float64; on a GPU (--sides=ours,torch) PyTorch's Cholesky in float64, where it
is installed.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import psutil

BANDWIDTH = 5.0
TOLERANCE = 1e-12


def ours(points, targets):
  """float32 factor, refined against float64."""
  from rethink.kernels import gram, solver

  kernel = gram.parse(f"gaussian(bandwidth={BANDWIDTH})")
  matrix = gram.PointGram(kernel, points.astype(np.float32), cache=True)
  found = solver.solve(matrix, targets, tolerance=TOLERANCE)
  return found.coefficients, found.seconds


def sklearn(points, targets):
  """KernelRidge; its kernel has the dtype of the points, float64."""
  from sklearn.kernel_ridge import KernelRidge

  gamma = 1 / (2 * BANDWIDTH**2)
  # A ridge of exactly 0 sends it into least squares.
  model = KernelRidge(alpha=1e-15, kernel="rbf", gamma=gamma)
  return model.fit(points, targets).dual_coef_, {}


def torch(points, targets):
  """PyTorch's Cholesky in float64 on the GPU."""
  import torch as t

  x = t.as_tensor(points, dtype=t.float64, device="cuda")
  y = t.as_tensor(targets, dtype=t.float64, device="cuda")
  k = t.cdist(x, x).square_().mul_(-0.5 / BANDWIDTH**2).exp_()
  alpha = t.cholesky_solve(y, t.linalg.cholesky(k, out=k))
  return alpha.cpu().numpy(), {"peak_gb": t.cuda.max_memory_allocated() / 1e9}


SIDES = {side.__name__: side for side in (ours, sklearn, torch)}


def load(dataset, data_dir, n):
  """(points float64[n, d] in [0, 1], one-hot labels) of the training split."""
  from rethink.pipeline import datasets

  found = datasets.load(dataset, data_dir)
  examples = found.splits["train"]
  points = examples.image[:n].reshape(n, -1) / 255
  return points, np.eye(found.info.num_classes)[examples.label[:n]]


def residual(points, targets, coefficients):
  """The largest |y_c - K alpha_c| / |y_c|, in NumPy, float64 and blocks."""
  x = points
  squares = np.sum(x**2, 1)
  product = np.empty_like(targets)
  for start in range(0, len(x), 1000):
    rows = slice(start, start + 1000)
    distances = squares[rows, None] + squares - 2 * x[rows] @ x.T
    distances[np.arange(len(distances)), np.arange(len(x))[rows]] = 0
    kernel = np.exp(np.maximum(distances, 0) / (-2 * BANDWIDTH**2))
    product[rows] = kernel @ coefficients
  misfit = np.linalg.norm(targets - product, axis=0)
  return float(np.max(misfit / np.linalg.norm(targets, axis=0)))


def measure(side, args):
  """One side in this process; what it found as a JSON value."""
  points, targets = load(args.dataset, args.data_dir, args.n)
  SIDES[side](points[:64], targets[:64])  # imports
  before = psutil.Process().memory_info().rss
  seconds, cpu_seconds = [], 0.0
  for _ in range(2):
    began, cpu = time.perf_counter(), time.process_time()
    coefficients, facts = SIDES[side](points, targets)
    seconds.append(time.perf_counter() - began)
    cpu_seconds = time.process_time() - cpu
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  return {
    "side": side,
    "n": args.n,
    "first_seconds": seconds[0],
    "seconds": seconds[1],
    "cpu_seconds": cpu_seconds,
    "peak_gb": peak / 1e9,
    "solve_gb": (peak - before) / 1e9,
    "residual": residual(points, targets, coefficients),
    **facts,
  }


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--n", type=int, default=8000)
  parser.add_argument("--dataset", default="fashion_mnist")
  parser.add_argument("--data_dir", required=True)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--sides", default="ours,sklearn")
  parser.add_argument("--only", choices=SIDES, help="one side, in this process")
  args = parser.parse_args()
  if args.only:
    print(json.dumps(measure(args.only, args)))
    return
  rows = []
  for _ in range(args.rounds):
    for side in args.sides.split(","):
      command = [sys.executable, __file__, *sys.argv[1:], f"--only={side}"]
      done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
      rows.append(json.loads(done.stdout.splitlines()[-1]))
      print(json.dumps(rows[-1]), flush=True)
  for side in args.sides.split(","):
    mine = [row for row in rows if row["side"] == side]
    middle = {
      key: statistics.median(row[key] for row in mine)
      for key, value in mine[0].items()
      if isinstance(value, float)
    }
    print(
      "{side}: {seconds:.2f} s ({cpu_seconds:.2f} s of all cores;"
      " {first_seconds:.2f} s the first time), peak {peak_gb:.2f} GB, of which"
      " {solve_gb:.2f} GB to solve, residual {residual:.1e}; medians of"
      " {count}".format(side=side, count=len(mine), **middle)
    )


if __name__ == "__main__":
  main()
