"""What the entry points share: flags, signals, exit codes.

Exit codes: 0 done; 2 bad config or usage; 3 diverged; 4 data or saved states
missing or damaged; 75 preempted, state saved, run again; 1 anything else.
"""

import os
import pathlib
import re
import sys
import types
from collections.abc import Callable

from absl import flags, logging
from ml_collections import config_flags

from rethink import errors, experiments, signals
from rethink.cpu import allocator


def define_config() -> flags.FlagHolder:
  """--config, locked before `--config.field=value` overrides it."""
  return config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file, with the run after a colon: configs/demo.py:mlp/true",
    lock_config=True,
  )


def define_data_dir() -> flags.FlagHolder:
  """--data_dir, which defaults as in TFDS."""
  return flags.DEFINE_string(
    "data_dir",
    None,
    "Prepared data sets; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.",
  )


def define_deterministic() -> flags.FlagHolder:
  """Defines --deterministic, whose value `configure_process` needs."""
  return flags.DEFINE_bool(
    "deterministic",
    False,
    "Bit-equal results on a GPU, at a price in speed; a CPU always has them.",
  )


def configure_process(deterministic: bool, method: str) -> signals.StopFlag:
  """Sets what JAX reads once; from now on a signal means: save, then leave."""
  if deterministic:
    known = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{known} --xla_gpu_deterministic_ops=true"
  if method == "train":  # the other methods make room for one big matrix
    allocator.keep_freed_memory()  # before JAX starts its threads
  return signals.StopFlag().install()


def data_dir(flag: str | None) -> str:
  """The flag, or where TFDS users expect data."""
  fallback = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  folder = local_folder(
    "data_dir", flag or fallback, "copy the data, or mount their bucket"
  )
  return os.path.abspath(os.path.expanduser(folder))


def local_folder(flag: str, value: str, advice: str) -> str:
  """The value of a flag that names a folder of this machine.

  Raises:
    ConfigError: with the advice, if it looks like an address, gs://bucket say,
      which would become a folder of that name.
  """
  if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", value):
    raise errors.ConfigError(
      f"--{flag}={value} is no folder of this machine; {advice}"
    )
  return value


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the command line; what is wrong with it ends in one sentence.

  Fields of the config may also follow two dashes: `-- dataset=cifar10 seed=1`.
  """
  if "config" in flags.FLAGS and "--" in argv:
    at = argv.index("--")
    fields = [field.removeprefix("config.") for field in argv[at + 1 :]]
    # In place: ml_collections looks at sys.argv.
    argv[at:] = [f"--config.{field}" for field in fields]
  try:
    rest = flags.FLAGS(argv)
    if flags.FLAGS["verbosity"].using_default_value:
      # Orbax and TFDS tell every step of theirs; --verbosity=0 shows them.
      flags.FLAGS.verbosity = logging.WARNING
    if "config" in flags.FLAGS:
      _check_config(rest)
    return rest
  except flags.Error as error:
    # Of a traceback in the message only the last line is for people.
    message = str(error).strip()
    first, last = message.splitlines()[0], message.splitlines()[-1]
    _fail(message if first == last else f"{first} {last}")
  except errors.ConfigError as error:
    _fail(str(error))
  except (AttributeError, KeyError, TypeError, ValueError, SyntaxError) as e:
    # ml_collections raises these, one in the other, for an unknown field or a
    # value of the wrong type; a bug in a config file ends here, too.
    error: object = e
    while isinstance(error, BaseException) and error.args:
      error = error.args[0]
    text = ". ".join(str(error).splitlines())
    if re.fullmatch(r"'\w+'", text):
      text = (
        f"there is no field {text}; configs/base.py has those that there are,"
        " for kernels configs/kernels.py"
      )
    _fail(f"--config: {text}")
  raise AssertionError("not reached")


def _check_config(rest: list[str]) -> None:
  if flags.FLAGS["config"].value is None:
    raise errors.ConfigError(
      "--config=FILE is missing; try --config=configs/demo.py"
    )
  path = config_flags.get_config_filename(flags.FLAGS["config"])
  if not os.path.exists(path.partition(":")[0]):
    raise errors.ConfigError(f"--config={path}: there is no such file")
  if len(rest) > 1:
    raise errors.ConfigError(f"unexpected argument {rest[1]!r}")


def config_name() -> tuple[str, str]:
  """(config file's name, run or group of runs), the latter "" if not given."""
  path, _, run = config_flags.get_config_filename(
    flags.FLAGS["config"]
  ).partition(":")
  return pathlib.Path(path).stem, run


def run_name() -> str:
  """ "<config file's name>/<run>" of the one run that the flag names.

  Raises:
    ConfigError: if it names a group of runs.
  """
  stem, run = config_name()
  if run and run not in getattr(_module(), "RUNS", [run]):
    raise errors.ConfigError(
      f"{run!r} of {stem} is a group of runs; run them with rethink.sweep"
    )
  return f"{stem}/{run or 'default'}"


def experiment() -> types.ModuleType:
  """The config file as a module with RUNS.

  Raises:
    ConfigError: if it has none, or the flag names one of them.
  """
  module, run = _module(), config_name()[1]
  path = config_flags.get_config_filename(flags.FLAGS["config"])
  if not hasattr(module, "RUNS"):
    raise errors.ConfigError(
      f"--config={path} names a single run; run it with rethink.main"
    )
  if run in module.RUNS:
    raise errors.ConfigError(
      f"--config={path} is one run; run it with rethink.main, or give --only"
    )
  return module


def _module() -> types.ModuleType:
  path, _, _ = config_flags.get_config_filename(
    flags.FLAGS["config"]
  ).partition(":")
  return experiments.load_module(path)


def apply_overrides(config) -> None:
  """Applies the command line's --config.field=value to another config."""
  overrides = config_flags.get_override_values(flags.FLAGS["config"])
  config.lock()
  config.update_from_flattened_dict(overrides)


def exit_code(body: Callable[[], None]) -> int:
  """Runs the body; a fault of a known kind becomes a message and a code."""
  try:
    body()
  except errors.RethinkError as error:
    print(f"rethink: {error}", file=sys.stderr, flush=True)
    return error.exit_code
  return 0


def _fail(message: str) -> None:
  print(f"rethink: {message}", file=sys.stderr, flush=True)
  sys.exit(errors.ConfigError.exit_code)
