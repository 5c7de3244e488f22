"""What a computation will take, against what there is, before it is taken."""

import contextlib
import pathlib
import resource
from collections.abc import Callable

import jax
import psutil

from rethink import errors

_CGROUP = pathlib.Path("/sys/fs/cgroup")


def available_bytes() -> int:
  """Bytes that JAX's first device can still give to this process.

  On a CPU the least of what the machine has, what the address space may grow to
  (`ulimit -v`) and what the control group (a container, a Slurm job) may take.
  """
  stats = jax.devices()[0].memory_stats()
  if jax.default_backend() != "cpu" and stats:
    return stats["bytes_limit"] - stats["bytes_in_use"]
  limits = [psutil.virtual_memory().available]
  soft, _ = resource.getrlimit(resource.RLIMIT_AS)
  if soft != resource.RLIM_INFINITY:
    limits.append(soft - psutil.Process().memory_info().vms)
  try:
    allowed = (_CGROUP / "memory.max").read_text().strip()
    if allowed != "max":
      used = int((_CGROUP / "memory.current").read_text())
      limits.append(int(allowed) - used)
  except OSError:
    pass  # no control group of version 2
  return max(0, min(limits))


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
