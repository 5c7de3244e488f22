"""Kernel interpolation of n images: this package against its peers, in one run.

  python benchmarks/kernels.py --n=8000 --data_dir=DIR [--rounds=3]

Each side runs in a process of its own, in turns, and reports its seconds, its
peak of resident memory above what it had before the data were there, and the
residual of its solution, measured alike in float64. On a CPU the peer is
scikit-learn's KernelRidge in float64, whose residual is the tolerance that ours
has to reach; on a GPU it is PyTorch's float64 Cholesky, where it is installed.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

BANDWIDTH = 5.0
TOLERANCE = 1e-12


def ours(points, targets, fresh):
  """float32 factor, refined against float64."""
  from rethink.kernels import gram, solver

  def once(points, targets):
    kernel = gram.parse(f"gaussian(bandwidth={BANDWIDTH})")
    matrix = gram.PointGram(kernel, points, hold=True)
    found = solver.solve(matrix, targets, tolerance=TOLERANCE)
    return found.coefficients, found.report()["seconds"]

  once(*fresh)  # compiles its programs
  return once, (points, targets)


def sklearn(points, targets, fresh):
  """scikit-learn, whose kernel has the dtype of the points."""
  from sklearn.kernel_ridge import KernelRidge

  model = KernelRidge(
    alpha=1e-15, kernel="rbf", gamma=1 / (2 * BANDWIDTH**2)
  )  # of 0 it says that the matrix may be singular

  def once(points, targets):
    return model.fit(points, targets).dual_coef_, {}

  once(*fresh)
  return once, (points.astype(np.float64), targets)


def torch(points, targets, fresh):
  """PyTorch's Cholesky in float64 on the GPU."""
  import torch as t

  def once(points, targets):
    x = t.as_tensor(points, dtype=t.float64, device="cuda")
    y = t.as_tensor(targets, dtype=t.float64, device="cuda")
    k = t.cdist(x, x).square_().mul_(-0.5 / BANDWIDTH**2).exp_()
    alpha = t.cholesky_solve(y, t.linalg.cholesky(k, out=k))
    return alpha.cpu().numpy(), {}

  once(*fresh)
  return once, (points, targets)


SIDES = {side.__name__: side for side in (ours, sklearn, torch)}


def load(dataset, data_dir, n):
  """(points float32[n, d] in [0, 1], one-hot labels) of the training split."""
  from rethink import datasets

  found = datasets.load(dataset, data_dir)
  examples = found.splits["train"]
  points = examples.image[:n].reshape(n, -1).astype(np.float32) / 255
  return points, np.eye(found.info.num_classes)[examples.label[:n]]


def residual(points, targets, coefficients):
  """The largest |y_c - K alpha_c| / |y_c|, in NumPy, float64 and blocks."""
  x = points.astype(np.float64)
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
  fresh = (points[:100], targets[:100])
  once, inputs = SIDES[side](points, targets, fresh)
  if side == "ours":  # programs depend on the shapes of tiles: compile those
    SIDES[side](points, targets, (points, targets))
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  began = time.perf_counter()
  coefficients, seconds = once(*inputs)
  total = time.perf_counter() - began
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return {
    "side": side,
    "n": args.n,
    "seconds": total,
    "phases": seconds,
    "peak_gb": peak * 1024 / 1e9,
    "peak_before_gb": before * 1024 / 1e9,
    "residual": residual(points, targets, coefficients),
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
    seconds = statistics.median(row["seconds"] for row in mine)
    peak = max(row["peak_gb"] for row in mine)
    worst = max(row["residual"] for row in mine)
    print(
      f"{side}: {seconds:.2f} s (median of {len(mine)}), peak {peak:.2f} GB,"
      f" residual {worst:.1e}"
    )


if __name__ == "__main__":
  main()
