"""Images per second of training, without the time that compiling takes."""

import jax

_COMPILING = "/jax/core/compile/"
_BACKEND = "/jax/core/compile/backend_compile_duration"


class Speed:
  """Measures the speed between two rows; use as a context manager.

  A chunk of steps in which a program was compiled counts only where there is no
  other, and then without the seconds of the compiler.
  """

  def __init__(self) -> None:
    """Measures nothing yet."""
    self._compiling, self._compiler_seconds = False, 0.0
    self._counted = self._compiled = (0, 0.0)  # images, seconds

  def __enter__(self) -> "Speed":
    jax.monitoring.register_event_duration_secs_listener(self._hear)
    return self

  def __exit__(self, *_) -> None:
    jax.monitoring.unregister_event_duration_listener(self._hear)

  def begin(self) -> None:
    """Begins a chunk: what was compiled before is not of it."""
    self._compiling, self._compiler_seconds = False, 0.0

  def end(self, images: int, seconds: float) -> None:
    """Counts the chunk that has ended."""
    if self._compiling:
      seconds = max(seconds - self._compiler_seconds, 0.0)
      self._compiled = _sum(self._compiled, (images, seconds))
    else:
      self._counted = _sum(self._counted, (images, seconds))

  def take(self) -> float | None:
    """Returns images per second since the last call; None if none trained."""
    images, seconds = self._counted if self._counted[0] else self._compiled
    self._counted = self._compiled = (0, 0.0)
    return images / max(seconds, 1e-6) if images else None

  def _hear(self, event: str, duration_secs: float, **kwargs) -> None:
    del kwargs
    if event.startswith(_COMPILING):
      self._compiling = True
    if event == _BACKEND:
      self._compiler_seconds += duration_secs


def _sum(a: tuple[int, float], b: tuple[int, float]) -> tuple[int, float]:
  return a[0] + b[0], a[1] + b[1]
