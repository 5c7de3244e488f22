"""Compiles the steps of a config for TPUs without having one.

  python -m benchmarks.tpu --config=configs/imagenet.py --topology=v5e:2x4

Needs libtpu (`pip install 'jax[tpu]'`) but no TPU. Prints the compiler's
numbers: memory, operations and collectives. Nothing is executed, so there are
no times.
"""

import argparse
import functools
import json
import os
import re
import time
from collections import Counter
from typing import Any

# Set before JAX is imported. With a single CPU device our convolutions would
# have their gradients for CPUs, not those for a TPU.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# libtpu's lock protects a device, and there is none.
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies

from rethink import (
  compiled,
  evaluate,
  experiments,
  schedules,
  settings,
  train_step,
)
from rethink.pipeline import resident

_COLLECTIVES = re.compile(
  r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
  r"(?:-start)?\("
)


def topology(name: str) -> list[Any]:
  """Returns the devices of a topology such as "v5e:2x4".

  The `process_index` of a device is its host.

  Raises:
    RuntimeError: if libtpu is not installed or does not know the name.
  """
  found = topologies.get_topology_desc(platform="tpu", topology_name=name)
  return list(found.devices)


def compile_steps(
  config, devices: list[Any], channels: int = 3, num_classes: int = 1000
) -> dict[str, dict[str, Any]]:
  """Returns the compiler's numbers for one train step and one eval step.

  Args:
    config: config of a training run.
    devices: the devices of a topology.
    channels: number of channels of the images.
    num_classes: number of classes of the data set.
  """
  mesh = jax.sharding.Mesh(np.array(devices), ("data",))
  sharded, replicated = (
    jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
    for axes in (("data",), ())
  )
  run = settings.resolve(config)
  static = compiled.static_arguments(run, num_classes, sharded)
  key = jax.random.key(0)
  length = schedules.Length(jnp.int32(1), jnp.int32(1))
  inputs = compiled.traced_arguments(run, length, key)
  create = functools.partial(train_step.create_train_state, static, channels)
  state = jax.eval_shape(create, inputs, key)

  def place(tree, sharding):
    def one(x):
      x = jnp.asarray(x) if isinstance(x, float) else x
      return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree.map(one, tree)

  def batch(n: int, sharding):
    size = (config.image_size, config.image_size, channels)
    shapes = resident.Resident(
      jax.ShapeDtypeStruct((n, *size), jnp.uint8),
      *(jax.ShapeDtypeStruct((n,), jnp.int32) for _ in range(2)),
    )
    return place(shapes, sharding)

  inputs, state = place(inputs, replicated), place(state, replicated)
  step = train_step.compile_train_step(static)
  evaluated = evaluate.Static(
    static.model,
    static.num_classes,
    static.image_size,
    static.dtype,
    static.normalize,
  )
  clean = evaluate.compile_eval_step(evaluated)
  n = config.eval_batch_size
  total = place(evaluate.shapes(evaluated).sums, replicated)
  mask = place(jax.ShapeDtypeStruct((n,), jnp.bool), sharded)
  return {
    "training": _figures(
      step.lower, state, batch(config.batch_size, sharded), inputs
    ),
    "evaluation": _figures(
      clean.lower, *state.evaluated, batch(n, sharded), mask, total
    ),
  }


def _figures(lower, *args) -> dict[str, Any]:
  began = time.monotonic()
  compiled = lower(*args).compile()
  memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
  return {
    "compile_seconds": round(time.monotonic() - began, 1),
    # For one step on one device: operations, and bytes to and from its memory.
    "operations": int(cost["flops"]),
    "bytes_accessed": int(cost["bytes accessed"]),
    # On one device; donated buffers are counted once.
    "bytes": {
      "arguments": memory.argument_size_in_bytes,
      "outputs": memory.output_size_in_bytes - memory.alias_size_in_bytes,
      "temporary": memory.temp_size_in_bytes,
      "program": memory.generated_code_size_in_bytes,
    },
    "collectives": dict(Counter(_COLLECTIVES.findall(compiled.as_text()))),
  }


def main(argv: list[str] | None = None) -> None:
  """Prints the figures as JSON."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--config", default="configs/imagenet.py")
  parser.add_argument("--topology", default="v5e:2x4")
  parser.add_argument("--batch_size", type=int, default=0, help="0: config's")
  args = parser.parse_args(argv)
  config = experiments.load_module(args.config).get_config()
  if args.batch_size:
    config.batch_size = config.eval_batch_size = args.batch_size
  devices = topology(args.topology)
  figures = {
    "topology": args.topology,
    "devices": len(devices),
    "hosts": len({device.process_index for device in devices}),
    "global_batch": config.batch_size,
    **compile_steps(config, devices),
  }
  print(json.dumps(figures, indent=2))


if __name__ == "__main__":
  main()
