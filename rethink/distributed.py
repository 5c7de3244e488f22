"""Several processes at one run: how they meet, decide alike and part.

All processes execute the same programs in the same order, on arrays that lie
on the devices of all. Process 0 alone keeps the run directory and speaks on
stdout; what is not the same replicated, such as clocks, signals and files, is
agreed on here. With one process everything here is the identity.
"""

import glob
import importlib.util
import json
import os
import sys
import threading
import time
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from rethink import errors

# How long a process that failed waits for others that fail alike.
_SECONDS_TO_LEAVE = 5.0


def join(
  coordinator: str | None,
  num_processes: int | None,
  process_id: int | None,
  initialization_timeout: float,
  heartbeat_timeout: float,
) -> None:
  """Waits for the other processes of this run, if there are any.

  On Cloud TPU, in a Slurm step of several tasks and under Open MPI, JAX finds
  them by itself. Comes before anything that makes JAX look at its devices.

  Args:
    coordinator: "host:port" of process 0, the same for all processes.
    num_processes: of the run; 1 looks for nobody.
    process_id: of this process, from 0.
    initialization_timeout: seconds until all must have come; else this process
      ends with exit code 1.
    heartbeat_timeout: seconds of silence after which a process counts as dead,
      and JAX ends all others.

  Raises:
    ConfigError: if a flag is missing, or the others cannot be found.
  """
  flags = (coordinator, num_processes, process_id)
  given = [flag is not None for flag in flags]
  if num_processes == 1 or not (any(given) or _expected()):
    return
  if any(given) and not all(given):
    raise errors.ConfigError(
      "--coordinator, --num_processes and --process_id go together"
    )
  # It would take SIGTERM, which is caught and agreed on here.
  jax.config.update("jax_enable_preemption_service", False)
  # JAX would end the process with a stack trace.
  late = threading.Timer(initialization_timeout, _give_up)
  late.daemon = True
  late.start()
  try:
    jax.distributed.initialize(
      *flags,
      cluster_detection_method="deactivate" if all(given) else None,
      initialization_timeout=int(initialization_timeout) + 60,
      heartbeat_timeout_seconds=int(heartbeat_timeout),
      shutdown_timeout_seconds=10,  # `leave` has waited for the others
    )
  except Exception as error:  # of JAX, gRPC or a cluster's own library
    raise errors.ConfigError(
      f"the processes of this run cannot meet: {errors.reason(error)};"
      " --num_processes=1 is for one alone"
    ) from error
  finally:
    late.cancel()
  if not is_first():
    sys.stdout = open(os.devnull, "w")  # stderr still says what is wrong


def _expected() -> bool:
  """Whether there are several processes, or JAX has to ask the cloud."""
  for size in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
    if int(os.environ.get(size, "1")) > 1:
      return True
  chips = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
  return bool(chips and importlib.util.find_spec("libtpu"))


def _give_up() -> None:
  print(
    "rethink: not all processes of this run have come within"
    " --initialization_timeout; start them all, with the same --coordinator and"
    " --num_processes",
    file=sys.stderr,
    flush=True,
  )
  os._exit(errors.RethinkError.exit_code)


def leave(code: int) -> None:
  """Ends this process's part: together with the others, or without them.

  Args:
    code: the exit code; 0 and 75 come to all processes alike, at the same step.
  """
  if not jax.distributed.is_initialized():
    return
  if code in (0, errors.PreemptedError.exit_code):
    all_gather(code)  # process 0 may still have been busy with its files
    return
  # Others may wait for this process in a program. They end when it is gone.
  parting = threading.Thread(target=jax.distributed.shutdown, daemon=True)
  parting.start()
  parting.join(_SECONDS_TO_LEAVE)
  sys.stdout.flush()
  os._exit(code)


def is_first() -> bool:
  """Whether this is process 0, which keeps the run directory."""
  return jax.process_index() == 0


def all_gather(value: Any) -> list[Any]:
  """The JSON values of all processes, in their order."""
  if jax.process_count() == 1:
    return [value]
  text = np.frombuffer(json.dumps(value).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(len(text)))
  # A power of two, so that few shapes are compiled.
  padded = np.zeros(1 << int(sizes.max()).bit_length(), np.uint8)
  padded[: len(text)] = text
  rows = multihost_utils.process_allgather(padded)
  return [
    json.loads(row[:size].tobytes())
    for row, size in zip(rows, sizes, strict=True)
  ]


def now() -> float:
  """Seconds by the clock of process 0, so that all decide alike."""
  return all_gather(time.monotonic())[0]


def any_of(value: str | None) -> str | None:
  """The first that a process has, such as the name of a signal, or None."""
  return next((found for found in all_gather(value) if found), None)


def require_equal(values: dict[str, Any]) -> None:
  """Makes sure that all processes work on the same.

  Raises:
    ConfigError: naming a process and the values that differ.
  """
  for process, other in enumerate(all_gather(values)):
    changed = [key for key in values if values[key] != other[key]]
    if changed:
      raise errors.ConfigError(
        f"processes {jax.process_index()} and {process} of this run differ in"
        f" {', '.join(changed)}: start all with the same code, command and data"
      )


def place(array: np.ndarray, sharding: jax.sharding.NamedSharding) -> jax.Array:
  """Lays an array that every process has on the devices of all."""
  if jax.process_count() == 1:
    return jax.device_put(array, sharding)
  return jax.make_array_from_callback(
    array.shape, sharding, lambda index: array[index]
  )


def all_gather_arrays(tree: Any) -> Any:
  """Arrays whose rows are spread over the devices of all, as NumPy arrays."""
  if jax.process_count() == 1:
    return jax.device_get(tree)
  return multihost_utils.process_allgather(tree, tiled=True)


def local_copy(tree: Any) -> Any:
  """Arrays that lie alike on the devices of all, as this process has them.

  NumPy arrays where there are several processes: Orbax would take others for a
  part of a whole.
  """
  if jax.process_count() == 1:
    return tree
  return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), tree)


def broadcast(tree: Any | None, like: Any) -> Any | None:
  """Process 0's arrays, or its None, to all processes, bit by bit.

  Args:
    tree: of process 0; what others give does not matter.
    like: arrays of the same shapes and dtypes, placed as the result will be.
  """
  if jax.process_count() == 1:
    return tree
  if all_gather(tree is None)[0]:
    return None

  def one(x, wanted):
    # As integers: a sum over processes would lose the sign of -0.0.
    bits = np.zeros(wanted.nbytes, np.uint8)
    if is_first():
      bits = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    bits = multihost_utils.broadcast_one_to_all(bits)
    array = bits.view(wanted.dtype).reshape(wanted.shape)
    return place(array, wanted.sharding)

  return jax.tree.map(one, tree if is_first() else like, like)
