"""Kernel interpolation of n images: this package against its peers.

  python benchmarks/kernels.py --n=8000 --data_dir=DIR [--rounds=3]

The sides take turns, each in a process of its own. A side solves twice (our
first solve compiles) and reports the seconds, its peak resident memory, the
part of that beyond imports and data, and the residual of its solution, which is
computed in the same way for all sides, in float64. The peer is scikit-learn's
KernelRidge on a CPU, and PyTorch's Cholesky solver on a GPU
(--sides=ours,torch), if it is installed; both work in float64.
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
  """Solves with a float32 factor, refined against float64."""
  from rethink.kernels import gram, solver

  kernel = gram.parse(f"gaussian(bandwidth={BANDWIDTH})")
  matrix = gram.PointGram(kernel, points.astype(np.float32), cache=True)
  found = solver.solve(matrix, targets, tolerance=TOLERANCE)
  return found.coefficients, found.seconds


def sklearn(points, targets):
  """Solves with KernelRidge, whose kernel has the points' dtype, float64."""
  from sklearn.kernel_ridge import KernelRidge

  gamma = 1 / (2 * BANDWIDTH**2)
  # With a ridge of exactly 0, KernelRidge falls back to least squares.
  model = KernelRidge(alpha=1e-15, kernel="rbf", gamma=gamma)
  return model.fit(points, targets).dual_coef_, {}


def torch(points, targets):
  """Solves with PyTorch's Cholesky factor in float64 on the GPU."""
  import torch as t

  x = t.as_tensor(points, dtype=t.float64, device="cuda")
  y = t.as_tensor(targets, dtype=t.float64, device="cuda")
  k = t.cdist(x, x).square_().mul_(-0.5 / BANDWIDTH**2).exp_()
  alpha = t.cholesky_solve(y, t.linalg.cholesky(k, out=k))
  return alpha.cpu().numpy(), {"peak_gb": t.cuda.max_memory_allocated() / 1e9}


SIDES = {side.__name__: side for side in (ours, sklearn, torch)}


def load(dataset, data_dir, n):
  """Returns points float64[n, d] in [0, 1] and one-hot labels for training."""
  from rethink.pipeline import datasets

  found = datasets.load(dataset, data_dir)
  examples = found.splits["train"]
  points = examples.image[:n].reshape(n, -1) / 255
  return points, np.eye(found.info.num_classes)[examples.label[:n]]


def residual(points, targets, coefficients):
  """Returns the largest |y_c - K alpha_c| / |y_c|, computed in float64."""
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
  """Measures one side in this process; returns JSON values."""
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
