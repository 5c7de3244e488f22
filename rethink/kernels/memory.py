"""Memory: how much is available, and whether a computation will fit."""

import contextlib
import pathlib
import resource
from collections.abc import Callable

import jax
import psutil

from rethink import errors

_GROUPS = pathlib.Path("/sys/fs/cgroup")
_OWN_GROUPS = pathlib.Path("/proc/self/cgroup")
# By version of control groups: folder below _GROUPS, file with the limit, file
# with the use, prefix of the line in memory.stat that counts reclaimable cache.
_VERSIONS = {
  1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
  2: ("", "memory.max", "memory.current", ""),
}


def available_bytes() -> int:
  """Returns the bytes that this process can still allocate on JAX's device.

  On a CPU this is the smallest of three: the memory that the machine has free,
  what the address space may still grow by (`ulimit -v`), and what the control
  groups of the process (a container, a Slurm job) leave.
  """
  stats = jax.local_devices()[0].memory_stats()
  if jax.default_backend() != "cpu" and stats:
    return stats["bytes_limit"] - stats["bytes_in_use"]
  limits = [psutil.virtual_memory().available]
  soft, _ = resource.getrlimit(resource.RLIMIT_AS)
  if soft != resource.RLIM_INFINITY:
    limits.append(soft - psutil.Process().memory_info().vms)
  return max(0, min(limits + _left_by_groups()))


def _left_by_groups() -> list[int]:
  """Returns the bytes that each control group of this process has left."""
  lines = (
    _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    if _OWN_GROUPS.exists()
    else []
  )
  left = []
  for _, controllers, path in (line.split(":", 2) for line in lines):
    if controllers and "memory" not in controllers.split(","):
      continue
    below, limit, use, prefix = _VERSIONS[1 if controllers else 2]
    root = _GROUPS / below
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
      if not folder.is_relative_to(root):
        break
      # Some groups have no limit (their file says "max"), and a container does
      # not see the groups above its own.
      with contextlib.suppress(OSError, ValueError):
        allowed = int((folder / limit).read_text(encoding="utf-8"))
        used = int((folder / use).read_text(encoding="utf-8"))
        stat = (folder / "memory.stat").read_text(encoding="utf-8").split()
        cached = stat[stat.index(f"{prefix}inactive_file") + 1]
        left.append(allowed - used + int(cached))
  return left


def reset_peak() -> None:
  """Restarts the measurement of `peak_bytes` where the system can (Linux)."""
  with contextlib.suppress(OSError):
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_bytes() -> int:
  """Returns the largest memory use since `reset_peak`, in bytes.

  On a CPU it counts the whole process, libraries included. On an accelerator it
  counts JAX's first device since the start of the process.
  """
  stats = jax.local_devices()[0].memory_stats()
  if jax.default_backend() != "cpu" and stats:
    return stats["peak_bytes_in_use"]
  return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def check(
  need: Callable[[int], int], n: int, what: str, available: int | None = None
) -> None:
  """Refuses a computation that does not fit into memory.

  Args:
    need: bytes as a function of the number of points, increasing.
    n: number of points.
    what: the computation, for the message.
    available: bytes; by default `available_bytes()`.

  Raises:
    ConfigError: with the bytes needed, and the largest number of points that
      fits.
  """
  available = available_bytes() if available is None else available
  if need(n) <= available:
    return
  low, high = 0, n  # bisection: need(low) fits, need(high) does not
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (middle, high) if need(middle) <= available else (low, middle)
  raise errors.ConfigError(
    f"{what} with {n:,} points needs {need(n) / 1e9:.2f} GB, but only"
    f" {available / 1e9:.2f} GB are available, enough for {low:,} points; use"
    " fewer points (config.train_examples), the preconditioner"
    " cholesky('float32') for half the memory of float64, or nystrom(rank),"
    " whose memory grows with n instead of n^2"
  )
