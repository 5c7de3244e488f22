"""The state of a training run at step 0, and the checks that come before it."""

import jax

from rethink import compiled, settings, train_step
from rethink.forward import checks
from rethink.methods import footprint


def state(
  run_settings: settings.Settings,
  static: compiled.Static,
  traced: compiled.Traced,
  key: jax.Array,
  sharding: jax.sharding.NamedSharding,
  channels: int,
  examples: int,
) -> train_step.TrainState:
  """Returns the state at step 0.

  Args:
    run_settings: the checked config.
    static: what the run is compiled for.
    traced: the other arguments of its programs.
    key: of the parameters.
    sharding: with a copy on each device.
    channels: of an image.
    examples: that are trained on.

  Raises:
    ConfigError: if the model cannot be used, or does not fit into memory.
    Exception: what a model of the user's own raises, with a note.
  """
  try:
    create = train_step.compile_initializer(static, channels, sharding)
    footprint.check(
      create,
      static,
      (traced, key),
      examples,
      _shape(static, channels),
      run_settings.config.eval_batch_size,
    )
    return create(traced, key)
  except Exception as error:
    if ":" in run_settings.model.name:
      error.add_note(f"raised when {run_settings.model} was initialized")
    raise


def check(
  static: compiled.Static, begun: train_step.TrainState, channels: int
) -> None:
  """Checks what only initial parameters show; as `checks.check_initialized`."""
  checks.check_initialized(
    static.model, begun.params, begun.batch_stats, _shape(static, channels)
  )


def _shape(static: compiled.Static, channels: int) -> tuple[int, int, int]:
  return static.image_size, static.image_size, channels
