"""How many programs were compiled, and how long that took."""

import jax


class Counter:
  """Counts the training programs that are compiled inside a `with` block.

  Attributes:
    training: programs of training steps; a last, shorter batch has its own.
    seconds: of all compilations, those of small helpers included.
  """

  def __init__(self):
    self.training, self.seconds = 0, 0.0

  def __enter__(self):
    jax.monitoring.register_event_duration_secs_listener(self._hear)
    return self

  def __exit__(self, *_):
    jax.monitoring.unregister_event_duration_listener(self._hear)

  def _hear(self, event: str, duration_secs: float, **kwargs) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
      self.seconds += duration_secs
      self.training += str(kwargs["fun_name"]).startswith("jit(train_")

  def __str__(self) -> str:
    return (
      f"{self.training} training programs compiled, {self.seconds:.1f} s of"
      " compilation in all"
    )
