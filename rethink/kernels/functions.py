"""Kernels: every public function returns one, for use as `config.kernel`.

All of them depend only on an inner product and two squared norms, so that a
block of kernel values takes one matrix product and one elementwise pass. Float
arguments may be traced.
"""

import math
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp

from rethink import specs


class Kernel(NamedTuple):
  """A positive semidefinite function of two points.

  Attributes:
    values: (inner products [m, n], squared norms [m, 1], squared norms [1, n])
      -> [m, n], in the dtype of the inner products.
    stationary: True if it depends on x - z alone, so that all points may be
      shifted by the same vector.
  """

  values: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
  stationary: bool


def gaussian(bandwidth: specs.NotNegative = 0.0) -> Kernel:
  """Returns exp(-|x - z|^2 / (2 bandwidth^2)).

  The first author's exp(-0.02 |x - z|^2) for MNIST is bandwidth 5.

  Args:
    bandwidth: in the unit of the points; 0 stands for the median distance
      between two training points (`gram.with_bandwidth`).
  """

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.exp(_squared_distance(inner, left, right) * -0.5 / bandwidth**2)

  return Kernel(values, stationary=True)


def laplacian(bandwidth: specs.NotNegative = 0.0) -> Kernel:
  """Returns exp(-|x - z| / bandwidth) with the Euclidean distance.

  As in Belkin, Ma & Mandal (2018). scikit-learn's kernel of that name uses the
  sum of absolute differences instead.

  Args:
    bandwidth: as for `gaussian`.
  """

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.exp(-jnp.sqrt(_squared_distance(inner, left, right)) / bandwidth)

  return Kernel(values, stationary=True)


def polynomial(
  degree: Annotated[int, specs.Range(1, 100)] = 3,
  scale: specs.Finite = 1.0,
  offset: specs.NotNegative = 1.0,
) -> Kernel:
  """Returns (scale <x, z> + offset)^degree."""

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    del left, right
    return (scale * inner + offset) ** degree

  return Kernel(values, stationary=False)


def linear() -> Kernel:
  """Returns <x, z>, whose Gram matrix is the X X^T of the paper's Eq. (3).

  With more features than points it gives the linear model of least norm.
  """

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    del left, right
    return inner

  return Kernel(values, stationary=False)


def arc_cosine(degree: Literal[0, 1, 2] = 1) -> Kernel:
  """Returns the kernel of one infinitely wide layer (Cho & Saul 2009).

  Args:
    degree: exponent of the activation max(0, a)^degree: 0 is the step function,
      1 the ReLU.
  """

  def values(inner: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    # One root of the product, not a product of roots: exact for equal norms.
    norms = jnp.sqrt(left * right)
    cosine = jnp.where(norms > 0, inner / jnp.where(norms > 0, norms, 1), 0)
    cosine = jnp.clip(cosine, -1, 1)  # rounding may exceed 1: arccos gives NaN
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
  # Cancellation may leave a small negative number between near points.
  return jnp.maximum(left + right - 2 * inner, 0)
