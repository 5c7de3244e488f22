"""Flags, signals and exit codes that the entry points share.

Exit codes: 0 done; 2 bad config or usage; 3 diverged; 4 data or saved states
missing or damaged; 75 preempted, state saved, run again; 1 anything else.
"""

import os
import pathlib
import re
import sys
import types
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from rethink import errors, experiments, signals
from rethink.cpu import allocator
from rethink.fields import config_files, variations
from rethink.storage import quiet, streams

_LONGEST = 2000  # characters of a message


def define_config() -> flags.FlagHolder:
  """Defines --config; unknown fields in `--config.field=value` are refused."""
  return config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file, with the run after a colon: configs/demo.py:mlp/true",
    lock_config=True,
  )


class _PathParser(flags.ArgumentParser):
  """Reads a path as a shell would: "~" is the home folder."""

  syntactic_help = "a path"

  def parse(self, argument: str) -> str:
    """Returns the path, "~" replaced.

    Raises:
      ValueError: if there is no such home folder.
    """
    path = os.path.expanduser(argument)
    if path.startswith("~"):
      raise ValueError(
        f"there is no home folder {path.partition('/')[0]!r}; write ./{path}"
        " for a folder of that name"
      )
    return path

  def flag_type(self) -> str:
    return "string"


def define_path(name: str, default: str | None, text: str) -> flags.FlagHolder:
  """Defines a flag that names a file or folder; "~" is the home folder."""
  return flags.DEFINE(
    _PathParser(), name, default, text, serializer=flags.ArgumentSerializer()
  )


def define_data_dir() -> flags.FlagHolder:
  """Defines --data_dir, whose default is that of TFDS."""
  return define_path(
    "data_dir",
    None,
    "Folder of prepared data sets. Default: $TFDS_DATA_DIR, or"
    " ~/tensorflow_datasets.",
  )


def define_deterministic() -> flags.FlagHolder:
  """Defines --deterministic; pass its value to `configure_process`."""
  return flags.DEFINE_bool(
    "deterministic",
    False,
    "Make results on a GPU equal to the last bit (slower). On a CPU they always"
    " are.",
  )


def configure_process(deterministic: bool, method: str) -> signals.StopFlag:
  """Configures the process before JAX starts and catches signals.

  Args:
    deterministic: value of --deterministic.
    method: `config.method`.

  Returns:
    The flag that a signal sets, so that the run can save and stop.
  """
  if deterministic:
    known = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{known} --xla_gpu_deterministic_ops=true"
  # Training reuses its buffers at every step. The other methods need one large
  # matrix, for which freed memory must go back to the system.
  if method == "train":
    allocator.keep_freed_memory()  # must precede JAX's threads
  return signals.StopFlag().install()


def data_dir(flag: str | None) -> str:
  """Returns the folder of data sets: the flag's value, or TFDS's default."""
  fallback = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  folder = local_folder(
    "data_dir", flag or fallback, "copy the data there, or mount the bucket"
  )
  return os.path.abspath(os.path.expanduser(folder))


def local_folder(flag: str, value: str, advice: str) -> str:
  """Returns the value of a flag that must name a folder of this machine.

  Raises:
    ConfigError: if the value is an address such as gs://bucket, which would
      otherwise become a folder of that name. The message ends in `advice`.
  """
  if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", value):
    raise errors.ConfigError(
      f"--{flag}={value} is not a folder on this machine; {advice}"
    )
  return value


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the command line; ends the process if it is wrong, saying why.

  Config fields may also follow two dashes: `-- dataset=cifar10 seed=1`.
  """
  if "config" in flags.FLAGS and "--" in argv:
    at = argv.index("--")
    fields = [field.removeprefix("config.") for field in argv[at + 1 :]]
    # Changed in place, because ml_collections reads sys.argv itself.
    argv[at:] = [f"--config.{field}" for field in fields]
  if "config" in flags.FLAGS:
    argv[:] = [config_files.expand_home(text) for text in argv]
    try:
      config_files.try_out(argv)
    except errors.ConfigError as error:
      _fail(str(error))
  try:
    rest = flags.FLAGS(argv)
    if flags.FLAGS["verbosity"].using_default_value:
      # Orbax and TFDS log every step they take; --verbosity=0 shows that.
      flags.FLAGS.verbosity = logging.WARNING
      quiet.silence_libraries()
    if "config" in flags.FLAGS:
      _check_config(rest)
    return rest
  except flags.Error as error:
    # Some messages contain a traceback; its last line says what is wrong.
    message = str(error).strip()
    first, last = message.splitlines()[0], message.splitlines()[-1]
    _fail(message if first == last else f"{first} {last}")
  except errors.ConfigError as error:
    _fail(str(error))
  except (AttributeError, KeyError, TypeError, ValueError) as e:
    # ml_collections raises these, one in the other, for an unknown field or a
    # value of the wrong type.
    error: object = e
    while isinstance(error, BaseException) and error.args:
      error = error.args[0]
    text = ". ".join(str(error).splitlines())
    if re.fullmatch(r"'\w+'", text):
      text = (
        f"there is no field {text}; configs/base.py lists all fields, and"
        " configs/kernels.py those of kernel methods"
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
  """Returns the config file's name and the run or group, "" if not given."""
  path, _, run = config_flags.get_config_filename(
    flags.FLAGS["config"]
  ).partition(":")
  return pathlib.Path(path).stem, run


def run_name() -> str:
  """Returns "<config file's name>/<run>" for the run that --config names.

  Raises:
    ConfigError: if --config names a group of runs, or the name is no path
      inside a folder.
  """
  stem, run = config_name()
  if run:
    experiments.check_name(run)
  if run and run not in getattr(_module(), "RUNS", [run]):
    raise errors.ConfigError(
      f"{run!r} of {stem} is a group of runs; use rethink.sweep to run them"
    )
  return f"{stem}/{run or 'default'}"


def variation() -> str:
  """Returns "-seed=1", what the command line changes of a result; or ""."""
  run = config_name()[1]
  plain = _module().get_config(*([run] if run else []))
  config: Any = flags.FLAGS["config"].value
  return variations.suffix(config, plain)


def experiment() -> types.ModuleType:
  """Returns the config file as a module with RUNS.

  Raises:
    ConfigError: if it has no RUNS, or if --config names one of them.
  """
  module, run = _module(), config_name()[1]
  path = config_flags.get_config_filename(flags.FLAGS["config"])
  if not hasattr(module, "RUNS"):
    raise errors.ConfigError(
      f"--config={path} is a single run; use rethink.main for it"
    )
  if run in module.RUNS:
    raise errors.ConfigError(
      f"--config={path} is a single run; use rethink.main for it, or --only to"
      " select runs of a sweep"
    )
  return module


def _module() -> types.ModuleType:
  path, _, _ = config_flags.get_config_filename(
    flags.FLAGS["config"]
  ).partition(":")
  return experiments.load_module(path)


def apply_overrides(config) -> None:
  """Applies the --config.field=value of the command line to a config."""
  overrides = config_flags.get_override_values(flags.FLAGS["config"])
  config.lock()
  config.update_from_flattened_dict(overrides)


def start(main: Callable[[list[str]], int], parse: Callable) -> None:
  """Runs an entry point: parses its flags, calls `main`, exits with its code.

  Args:
    main: is given the arguments that are no flags.
    parse: parses the command line, such as `parse_flags`.
  """
  streams.install()
  app.run(main, flags_parser=parse)


def exit_code(body: Callable[[], None]) -> int:
  """Runs `body` and returns the exit code.

  A RethinkError is printed as one message; other exceptions keep their
  traceback, because they are bugs or the user's own.
  """
  try:
    with errors.refusing_exit("code of a component"):
      body()
  except errors.RethinkError as error:
    print(f"rethink: {error}", file=sys.stderr, flush=True)
    return error.exit_code
  return 0


def _fail(message: str) -> None:
  if len(message) > _LONGEST:  # it quotes what was typed
    message = f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 4 :]}"
  print(f"rethink: {message}", file=sys.stderr, flush=True)
  sys.exit(errors.ConfigError.exit_code)
