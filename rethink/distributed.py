"""Runs on several processes: joining, common decisions, leaving.

All processes execute the same programs in the same order, on arrays that are
sharded or replicated over the devices of all. Only process 0 writes the run
directory and prints to stdout. Clocks, signals and files differ between
processes, so decisions that depend on them are agreed on here. With a single
process all functions here return their input.
"""

import contextlib
import glob
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from rethink import errors

# Time that a failed process gives the others to fail for the same reason.
_SECONDS_TO_LEAVE = 5.0


def join(
  coordinator: str | None,
  num_processes: int | None,
  process_id: int | None,
  initialization_timeout: float,
  heartbeat_timeout: float,
) -> None:
  """Joins the other processes of this run, if there are any.

  On Cloud TPU, in a Slurm step with several tasks and under Open MPI, JAX finds
  the other processes by itself. Call this before JAX looks at its devices.

  Args:
    coordinator: "host:port" of process 0, the same for all processes.
    num_processes: number of processes of the run; 1 runs alone.
    process_id: number of this process, from 0.
    initialization_timeout: seconds to wait for all processes to join; after
      that this process ends with exit code 1.
    heartbeat_timeout: seconds without a sign of life after which JAX counts a
      process as dead and ends all others.

  Raises:
    ConfigError: if a flag is missing, or the other processes are not found.
  """
  flags = (coordinator, num_processes, process_id)
  given = [flag is not None for flag in flags]
  if num_processes == 1 or not (any(given) or _expected()):
    return
  if any(given) and not all(given):
    raise errors.ConfigError(
      "--coordinator, --num_processes and --process_id go together: give all"
      " three or none"
    )
  # JAX's preemption service would catch SIGTERM, which this package handles.
  jax.config.update("jax_enable_preemption_service", False)
  # JAX's own timeout ends the process with a stack trace, so ours comes first.
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
      f"the processes of this run cannot meet: {errors.reason(error)}; to run"
      " without other processes, give --num_processes=1"
    ) from error
  finally:
    late.cancel()
  if not is_first():
    sys.stdout = open(
      os.devnull, "w", encoding="utf-8"
    )  # errors still appear on stderr


def _expected() -> bool:
  """Returns True if there may be other processes, which JAX then looks for."""
  for size in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
    if int(os.environ.get(size, "1")) > 1:
      return True
  chips = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
  return bool(chips and importlib.util.find_spec("libtpu"))


def _give_up() -> None:
  print(
    "rethink: not all processes of this run have joined within"
    " --initialization_timeout; start all of them, with the same --coordinator"
    " and --num_processes",
    file=sys.stderr,
    flush=True,
  )
  os._exit(errors.RethinkError.exit_code)


def leave(code: int) -> None:
  """Leaves the run, with the other processes or, after a failure, alone.

  Args:
    code: exit code. All processes end with 0 and 75 together, at the same step;
      any other code makes this process exit here.
  """
  if not jax.distributed.is_initialized():
    return
  if code in (0, errors.PreemptedError.exit_code):
    try:  # waits for process 0, which may still write its files
      all_gather(code, "exit code")
      return
    except (errors.RethinkError, jax.errors.JaxRuntimeError) as error:
      print(f"rethink: {errors.reason(error)}", file=sys.stderr, flush=True)
      code = errors.RethinkError.exit_code
  # Others may be waiting for this process inside a program, for ever. They end
  # when JAX notices that it is gone.
  parting = threading.Thread(target=jax.distributed.shutdown, daemon=True)
  parting.start()
  parting.join(_SECONDS_TO_LEAVE)
  sys.stdout.flush()
  os._exit(code)


def is_first() -> bool:
  """Returns True in process 0, which alone writes the run directory."""
  return jax.process_index() == 0


def all_gather(value: Any, tag: str) -> list[Any]:
  """Returns the JSON values of all processes, in the order of processes.

  Args:
    value: of this process.
    tag: what the value is. Processes that do not do the same thing at the same
      time would otherwise take one value for another.

  Raises:
    RethinkError: if another process exchanges something else.
  """
  if jax.process_count() == 1:
    return [value]
  text = np.frombuffer(json.dumps([tag, value]).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(len(text)))
  # Padded to a power of two, so that few shapes are compiled.
  padded = np.zeros(1 << int(sizes.max()).bit_length(), np.uint8)
  padded[: len(text)] = text
  rows = multihost_utils.process_allgather(padded)
  found = [
    json.loads(row[:size].tobytes())
    for row, size in zip(rows, sizes, strict=True)
  ]
  return _untag(found, tag)


def _untag(found: list[tuple[str, Any]], tag: str) -> list[Any]:
  """Returns the values of (tag, value) of all processes."""
  for process, (other, _) in enumerate(found):
    if other != tag:
      raise errors.RethinkError(
        f"the processes of this run are out of step: process"
        f" {jax.process_index()} exchanges {tag!r}, process {process}"
        f" {other!r}; start all processes with the same code, command and data"
      )
  return [value for _, value in found]


def now() -> float:
  """Returns process 0's clock in seconds, so that all processes agree."""
  return all_gather(time.monotonic(), "clock")[0]


def any_of(value: str | None) -> str | None:
  """Returns the first signal's name that a process has received, or None."""
  return next((found for found in all_gather(value, "signal") if found), None)


def require_equal(values: Mapping[str, Any], tag: str) -> None:
  """Checks that the values are the same in all processes.

  Args:
    values: of this process, JSON values by name.
    tag: what they are.

  Raises:
    ConfigError: naming a process and the values that differ.
  """
  mine = json.loads(json.dumps(values))  # as those of the others are read back
  for process, other in enumerate(all_gather(mine, tag)):
    names = sorted({*mine, *other})
    changed = [n for n in names if mine.get(n, other) != other.get(n, mine)]
    if changed:
      raise errors.ConfigError(
        f"processes {jax.process_index()} and {process} of this run differ in"
        f" {', '.join(changed)}; start all processes with the same code,"
        " command and data"
      )


@contextlib.contextmanager
def together(action: str) -> Iterator[None]:
  """Lets all processes get through a block, or none of them.

  Args:
    action: what the block does, such as "open the data". It must not wait for
      other processes itself.

  Raises:
    OtherProcessError: if the block has failed in another process.
  """
  failure: BaseException | None = None
  try:
    yield
  except BaseException as error:
    failure = error
  try:
    alone = jax.process_count() == 1
  except RuntimeError:  # JAX has no device: there is nobody to ask
    alone = True
  if not alone:
    mine = None
    if failure is not None:
      code = getattr(failure, "exit_code", errors.RethinkError.exit_code)
      mine = [f"{type(failure).__name__}: {errors.reason(failure)}", code]
    found = all_gather(mine, action)
    for process, other in enumerate(found):
      if other and not failure:
        raise errors.OtherProcessError(
          f"process {process} of this run could not {action}: {other[0]}",
          other[1],
        )
  if failure is not None:
    raise failure


def place(array: np.ndarray, sharding: jax.sharding.NamedSharding) -> jax.Array:
  """Places an array that every process has on the devices of all processes."""
  if jax.process_count() == 1:
    return jax.device_put(array, sharding)
  return jax.make_array_from_callback(
    array.shape, sharding, lambda index: array[index]
  )


def all_gather_arrays(tree: Any) -> Any:
  """Gathers arrays sharded over all devices into NumPy arrays."""
  if jax.process_count() == 1:
    return jax.device_get(tree)
  return multihost_utils.process_allgather(tree, tiled=True)


def local_copy(tree: Any) -> Any:
  """Returns this process's copy of arrays that are replicated on all devices.

  With several processes the copies are NumPy arrays, because Orbax would treat
  JAX arrays as parts of an array that all processes save together.
  """
  if jax.process_count() == 1:
    return tree
  return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), tree)


def broadcast(tree: Any | None, like: Any) -> Any | None:
  """Broadcasts process 0's arrays, or its None, to all processes, bit by bit.

  Args:
    tree: the arrays of process 0; ignored in other processes.
    like: arrays with the shapes, dtypes and shardings of the result.
  """
  if jax.process_count() == 1:
    return tree
  if all_gather(tree is None, "is there a saved state")[0]:
    return None

  def one(x, wanted):
    # Sent as integers: JAX broadcasts by a sum over processes, in which -0.0
    # would lose its sign.
    bits = np.zeros(wanted.nbytes, np.uint8)
    if is_first():
      bits = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    bits = multihost_utils.broadcast_one_to_all(bits)
    array = bits.view(wanted.dtype).reshape(wanted.shape)
    return place(array, wanted.sharding)

  return jax.tree.map(one, tree if is_first() else like, like)
