"""Symmetric matrices stored as tiles of the lower triangle, factored in place.

This takes half the memory of the full matrix. No array is larger than a tile,
so nothing exceeds the 32-bit sizes of LAPACK and cuSOLVER and no full copy is
ever made. Except on the diagonal tiles, all work is matrix products, with the
same code on CPU and GPU.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Products of float32 must not be rounded to TF32 or bfloat16 (the default on
# GPUs and TPUs): the matrix would lose positive definiteness.
PRECISION = jax.lax.Precision.HIGHEST

_LEAF = 256  # largest number of rows that LAPACK factors at once
# A diagonal tile is updated in strips, of which only the part left of the
# diagonal is computed: with 3 strips, two thirds of the full product.
_STRIPS = 3

Tiles = list[list[jax.Array]]  # Tiles[i][j], j <= i: [size, size]


class Layout(NamedTuple):
  """The division of n rows into `count` tiles of `size` rows, the last padded.

  Matrices are padded with the identity, vectors with zeros.
  """

  n: int
  count: int
  size: int

  def lower_bytes(self, itemsize: int) -> int:
    """Returns the memory that the tiles of a lower triangle take."""
    return self.count * (self.count + 1) // 2 * self.size**2 * itemsize

  def split(self, rows: np.ndarray) -> list[jax.Array]:
    """Cuts [n, ...] into `count` arrays [size, ...] on the device."""
    parts = []
    for start in range(0, self.count * self.size, self.size):
      part = rows[start : start + self.size]
      missing = self.size - len(part)
      if missing:
        part = np.pad(part, ((0, missing), *[(0, 0)] * (part.ndim - 1)))
      parts.append(jax.device_put(part))
    return parts

  def join(self, parts: list[jax.Array]) -> np.ndarray:
    """Joins what `split` has cut, on the host."""
    return np.concatenate([np.asarray(part) for part in parts])[: self.n]


def layout(n: int, size: int = 0) -> Layout:
  """Divides n rows evenly into tiles of about `size` rows.

  Args:
    n: number of rows, 1 or more.
    size: largest number of rows per tile, before rounding up to a multiple of
      8; 0 stands for 1,024 on a CPU and 4,096 elsewhere.
  """
  size = size or (1024 if jax.default_backend() == "cpu" else 4096)
  count = math.ceil(n / size)
  return Layout(n, count, 8 * math.ceil(n / count / 8))


class FactorizationError(Exception):
  """The matrix is not positive definite at its precision.

  Attributes:
    row: first row of the tile in which the factorization failed.
  """

  def __init__(self, row: int):
    super().__init__(f"the matrix is not positive definite from row {row} on")
    self.row = row


def factor(tiles: Tiles) -> None:
  """Replaces a positive definite matrix by its Cholesky factor L, in place.

  The diagonal tiles of L are stored as their inverses, so that the rest of the
  factorization, and `solve`, consist of products.

  Raises:
    FactorizationError: if the matrix is not positive definite; the tiles are
      overwritten and useless then.
  """
  for k in range(len(tiles)):
    tiles[k][k] = pivot = _inverse_of_factor(tiles[k][k])
    # LAPACK's failure arrives as NaN; jit cannot raise.
    if not math.isfinite(jnp.trace(pivot)):
      raise FactorizationError(k * len(pivot))
    for i in range(k + 1, len(tiles)):
      tiles[i][k] = _divide(tiles[i][k], pivot)
    for i in range(k + 1, len(tiles)):
      for j in range(k + 1, i):
        tiles[i][j] = subtract_product(tiles[i][j], tiles[i][k], tiles[j][k])
      tiles[i][i] = _subtract_square(tiles[i][i], tiles[i][k])


def solve(tiles: Tiles, parts: list[jax.Array]) -> list[jax.Array]:
  """Solves L L^T x = b with the tiles of `factor`; b is cut like the rows."""
  parts = [-part for part in parts]
  for i, row in enumerate(tiles):
    for j in range(i):
      parts[i] = add_product(parts[i], row[j], parts[j])
    parts[i] = -_product(row[i], parts[i])
  for i in reversed(range(len(tiles))):
    total = -parts[i]
    for j in range(i + 1, len(tiles)):
      total = add_product(total, tiles[j][i], parts[j], transpose=True)
    parts[i] = -_product(tiles[i][i], total, transpose=True)
  return parts


def multiply(
  tile: Callable[[int, int], jax.Array], parts: list[jax.Array]
) -> list[jax.Array]:
  """Returns A x for a symmetric A, using each tile of the lower triangle once.

  Args:
    tile: (i, j), j <= i -> that tile of A; may compute it on demand.
    parts: x, cut like the rows of A.
  """
  total = [jnp.zeros_like(part) for part in parts]
  for i in range(len(parts)):
    for j in range(i + 1):
      a = tile(i, j)
      total[i] = add_product(total[i], a, parts[j])
      if i != j:
        total[j] = add_product(total[j], a, parts[i], transpose=True)
  return total


@functools.partial(jax.jit, donate_argnums=0, static_argnames="transpose")
def add_product(
  total: jax.Array, tile: jax.Array, part: jax.Array, transpose: bool = False
) -> jax.Array:
  """Adds tile part, or tile^T part, to total; reuses total's memory."""
  if transpose:
    # Not written as tile.T @ part: XLA's CPU backend would first write out
    # tile.T, which takes five times as long as the product with one column.
    row = jax.lax.dot_general(
      part, tile, (((0,), (0,)), ((), ())), precision=PRECISION
    )
    return (total.T + row).T
  return total + jnp.matmul(tile, part, precision=PRECISION)


def _product(tile, part, transpose=False):
  return add_product(jnp.zeros_like(part), tile, part, transpose)


@functools.partial(jax.jit, donate_argnums=0)
def subtract_product(c: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
  """Returns c - a b^T; reuses the memory of c."""
  return c - jnp.matmul(a, b.T, precision=PRECISION)


@functools.partial(jax.jit, donate_argnums=0)
def _subtract_square(c, a):
  """Returns c - a a^T, right in the lower triangle only; reuses c's memory."""
  strip = -(-len(c) // _STRIPS)
  for start in range(0, len(c), strip):
    rows, left = slice(start, start + strip), slice(start + strip)
    square = jnp.matmul(a[rows], a[left].T, precision=PRECISION)
    c = c.at[rows, left].add(-square)
  return c


@functools.partial(jax.jit, static_argnames="dtype")
def shifted(tile: jax.Array, shift: float, *, dtype: str) -> jax.Array:
  """Returns tile + shift I in the given precision, as a new array."""
  return (tile + shift * jnp.eye(len(tile), dtype=tile.dtype)).astype(dtype)


@functools.partial(jax.jit, donate_argnums=0)
def _divide(tile, pivot):
  return jnp.matmul(tile, pivot.T, precision=PRECISION)


@functools.partial(jax.jit, donate_argnums=0)
def _inverse_of_factor(tile):
  return _factored(tile)[1]


def _factored(a):
  """Returns (L, L^-1) of a tile, halving it down to `_LEAF` rows.

  LAPACK is slow on a whole tile, even with threads; matrix products are not.
  """
  n, half = len(a), len(a) // 2
  if n <= _LEAF:
    factor = jax.lax.linalg.cholesky(a, symmetrize_input=False)
    identity = jnp.eye(n, dtype=a.dtype)
    return factor, jax.lax.linalg.triangular_solve(
      factor, identity, left_side=True, lower=True
    )
  product = functools.partial(jnp.matmul, precision=PRECISION)
  left, left_inverse = _factored(a[:half, :half])
  below = product(a[half:, :half], left_inverse.T)
  rest = a[half:, half:] - product(below, below.T)
  right, right_inverse = _factored(rest)
  corner = -product(right_inverse, product(below, left_inverse))
  zeros = jnp.zeros((half, n - half), a.dtype)
  return (
    jnp.block([[left, zeros], [below, right]]),
    jnp.block([[left_inverse, zeros], [corner, right_inverse]]),
  )
