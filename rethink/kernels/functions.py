"""Every public function returns a `Kernel`, a function of two points.

All of them depend on an inner product and two squared norms alone, so that a
block of values is one matrix product and a pass over it. Float arguments may be
traced.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from rethink import specs


class Kernel(NamedTuple):
  """A positive semidefinite function of two points.

  Attributes:
    values: (inner products [m, n], squared norms [m, 1], squared norms [1, n])
      -> [m, n], in the dtype of the inner products.
    stationary: depends on x - z alone; both may be moved by the same vector.
  """

  values: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
  stationary: bool


def gaussian(bandwidth: specs.NotNegative = 0.0) -> Kernel:
  """exp(-|x - z|^2 / (2 bandwidth^2)).

  The first author's exp(-0.02 |x - z|^2) for MNIST is bandwidth 5.

  Args:
    bandwidth: in the unit of the points; 0 is the median distance of two
      training points (`gram.with_bandwidth`).
  """

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.exp(_squared_distance(inner, left, right) * -0.5 / bandwidth**2)

  return Kernel(values, stationary=True)


def laplacian(bandwidth: specs.NotNegative = 0.0) -> Kernel:
  """exp(-|x - z| / bandwidth) of the Euclidean distance.

  As in Belkin, Ma & Mandal (2018); scikit-learn's kernel of that name takes the
  sum of absolute differences.

  Args:
    bandwidth: as for `gaussian`.
  """

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.exp(-jnp.sqrt(_squared_distance(inner, left, right)) / bandwidth)

  return Kernel(values, stationary=True)


def polynomial(
  degree: int = 3, scale: float = 1.0, offset: specs.NotNegative = 1.0
) -> Kernel:
  """(scale <x, z> + offset)^degree."""

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    del left, right
    return (scale * inner + offset) ** degree

  return Kernel(values, stationary=False)


def linear() -> Kernel:
  """<x, z>: the min-norm linear model, if there are more features than points.

  The X X^T of the paper's Eq. (3).
  """

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    del left, right
    return inner

  return Kernel(values, stationary=False)


def arc_cosine(degree: Literal[0, 1, 2] = 1) -> Kernel:
  """The kernel of one infinitely wide layer (Cho & Saul 2009).

  Args:
    degree: of the activation max(0, a)^degree: 0 is the step, 1 the ReLU.
  """

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    norms = jnp.sqrt(left * right)  # exact where both are equal
    cosine = jnp.where(norms > 0, inner / jnp.where(norms > 0, norms, 1), 0)
    cosine = jnp.clip(cosine, -1, 1)
    angle = jnp.arccos(cosine)
    sine = jnp.sqrt(1 - cosine**2)
    rest = math.pi - angle
    shape = {
      0: rest,
      1: sine + rest * cosine,
      2: 3 * sine * cosine + rest * (1 + 2 * cosine**2),
    }[degree]
    return norms**degree * shape / math.pi

  return Kernel(values, stationary=False)


def _squared_distance(inner, left, right):
  return jnp.maximum(left + right - 2 * inner, 0)
