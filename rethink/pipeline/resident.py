"""Data sets kept on the device as uint8, from which batches are gathered."""

import functools
from typing import NamedTuple

import jax
import numpy as np

from rethink import distributed, example

Sharding = jax.sharding.NamedSharding


class Resident(NamedTuple):
  """A split, or a batch of it, on the device. Ids stay on the host.

  Attributes:
    image: uint8[n, height, width, channels].
    label: int32[n].
    true_label: int32[n].
  """

  image: jax.Array
  label: jax.Array
  true_label: jax.Array


def shardings() -> tuple[
  jax.sharding.NamedSharding, jax.sharding.NamedSharding
]:
  """Returns the two shardings over all devices: (replicated, rows sharded)."""
  mesh = jax.make_mesh(
    (jax.device_count(),),
    ("data",),
    # optax's integer cross-entropy refuses the default, Explicit.
    axis_types=(jax.sharding.AxisType.Auto,),
  )
  return (
    Sharding(mesh, jax.sharding.PartitionSpec()),
    Sharding(mesh, jax.sharding.PartitionSpec("data")),
  )


def put(examples: example.Example, sharding: Sharding) -> Resident:
  """Places a split, which every process has, on the devices of `sharding`."""
  fields = (examples.image, examples.label, examples.true_label)
  return Resident(
    *(distributed.place(np.ascontiguousarray(f), sharding) for f in fields)
  )


@functools.partial(jax.jit, static_argnames="n")
def epoch_order(key: jax.Array, epoch: jax.Array, n: int) -> jax.Array:
  """Returns the order of the examples in an epoch, int32[n]."""
  return jax.random.permutation(jax.random.fold_in(key, epoch), n)


def gather(data: Resident, index: jax.Array, sharding: Sharding) -> Resident:
  """Gathers the examples at int32[batch] positions, sharded over the devices.

  A batch whose size the number of devices does not divide is replicated.
  """
  batch = Resident(*(field[index] for field in data))
  if len(index) % sharding.mesh.size:
    return batch
  return jax.lax.with_sharding_constraint(batch, sharding)
