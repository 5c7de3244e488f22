"""What a computation will take, against what there is, before it is taken."""

import contextlib
import pathlib
import resource
from collections.abc import Callable

import jax
import psutil

from rethink import errors

_GROUPS = pathlib.Path("/sys/fs/cgroup")
_MINE = pathlib.Path("/proc/self/cgroup")
# By version: below _GROUPS; files of limit and use; what can be had back.
_VERSIONS = {
  1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
  2: ("", "memory.max", "memory.current", ""),
}


def available_bytes() -> int:
  """Bytes that JAX's first device can still give to this process.

  On a CPU the least of what the machine has, what the address space may grow to
  (`ulimit -v`) and what control groups (a container, a Slurm job) may take.
  """
  stats = jax.devices()[0].memory_stats()
  if jax.default_backend() != "cpu" and stats:
    return stats["bytes_limit"] - stats["bytes_in_use"]
  limits = [psutil.virtual_memory().available]
  soft, _ = resource.getrlimit(resource.RLIMIT_AS)
  if soft != resource.RLIM_INFINITY:
    limits.append(soft - psutil.Process().memory_info().vms)
  return max(0, min(limits + _left_by_groups()))


def _left_by_groups() -> list[int]:
  """Bytes that each limited control group above this process can still give."""
  lines = _MINE.read_text().splitlines() if _MINE.exists() else []
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
      # Not all are limited, and a container sees no more than its own.
      with contextlib.suppress(OSError, ValueError):  # int("max")
        allowed = int((folder / limit).read_text())
        used = int((folder / use).read_text())
        stat = (folder / "memory.stat").read_text().split()
        cached = stat[stat.index(f"{prefix}inactive_file") + 1]
        left.append(allowed - used + int(cached))
  return left


def forget_peak() -> None:
  """Lets `peak_bytes` count from here, where the system can (Linux)."""
  with contextlib.suppress(OSError):
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
  """The most bytes that were taken at a time since `forget_peak`.

  By this process with all that it has loaded; on an accelerator, of JAX's first
  device, since the start.
  """
  stats = jax.devices()[0].memory_stats()
  if jax.default_backend() != "cpu" and stats:
    return stats["peak_bytes_in_use"]
  return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def check(
  need: Callable[[int], int], n: int, what: str, available: int | None = None
) -> None:
  """Refuses what does not fit.

  Args:
    need: bytes as a function of the number of points, increasing.
    n: points.
    what: is to be done, for the message.
    available: bytes; by default `available_bytes()`.

  Raises:
    ConfigError: with the bytes, and the largest number of points that fits.
  """
  available = available_bytes() if available is None else available
  if need(n) <= available:
    return
  low, high = 0, n  # need(low) fits, need(high) does not
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (middle, high) if need(middle) <= available else (low, middle)
  raise errors.ConfigError(
    f"{what} with {n:,} points needs {need(n) / 1e9:.2f} GB, and"
    f" {available / 1e9:.2f} GB are available; the most that fits is {low:,}"
    " points; take fewer (config.train_examples), solver cholesky('float32')"
    " for half the memory, or nystrom(rank), whose memory grows with n"
  )
