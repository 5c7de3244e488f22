"""Memory allocation of runs on a CPU."""

import ctypes
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
  """Makes glibc keep freed memory; returns False with another C library.

  XLA allocates the temporary buffers of a program at each call. By default
  glibc returns them to the kernel, which maps and clears them again at the next
  step: 13 % of the CPU time of a training step of the small Inception. Call
  this before JAX's backend starts, because threads that already run keep their
  own heaps.
  """
  if not sys.platform.startswith("linux"):
    return False
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt is None:
    return False
  # One heap, grown but never trimmed, instead of a mapping for each buffer.
  options = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
  return all([mallopt(name, value) for name, value in options])
