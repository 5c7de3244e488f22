"""How many programs were compiled, and how long that took."""

import jax


class Counter:
  """Counts the training programs that are compiled inside a `with` block.

  Attributes:
    training: programs of training steps.
    tails: those of a last, shorter batch, where it has its own: on the CPU
      backend, for networks with convolutions.
    seconds: of all compilations, those of small helpers included.
  """

  def __init__(self):
    self.training, self.tails, self.seconds = 0, 0, 0.0

  def __enter__(self):
    jax.monitoring.register_event_duration_secs_listener(self._hear)
    return self

  def __exit__(self, *_):
    jax.monitoring.unregister_event_duration_listener(self._hear)

  def _hear(self, event: str, duration_secs: float, **kwargs) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
      self.seconds += duration_secs
      name = str(kwargs["fun_name"])
      self.training += name in ("jit(train_many)", "jit(train_one)")
      self.tails += name == "jit(train_tail)"

  def __str__(self) -> str:
    tails = f" and {self.tails} of shorter last batches" if self.tails else ""
    return (
      f"{self.training} training programs{tails} compiled, {self.seconds:.1f} s"
      " of compilation in all"
    )
