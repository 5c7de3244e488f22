"""A symmetric matrix as the tiles of its lower triangle, factored in place.

Half the memory of the full matrix, and no array is longer than a tile: neither
the 32-bit sizes of LAPACK and cuSOLVER nor a copy of the whole matrix can
matter. All work but that on the diagonal tiles is matrix products, in the same
code on CPU and GPU.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Products of float32 must not be rounded to TF32 or bfloat16 (the default on
# GPUs and TPUs): the matrix would lose positive definiteness.
PRECISION = jax.lax.Precision.HIGHEST

Tiles = list[list[jax.Array]]  # Tiles[i][j], j <= i: [size, size]


class Layout(NamedTuple):
  """How n rows are cut: `count` tiles of `size` rows, the last ones padding.

  A matrix is continued by the identity, a vector by zeros.
  """

  n: int
  count: int
  size: int

  def lower_bytes(self, itemsize: int) -> int:
    """Memory of the tiles of a lower triangle."""
    return self.count * (self.count + 1) // 2 * self.size**2 * itemsize

  def split(self, rows: np.ndarray) -> list[jax.Array]:
    """[n, ...] -> count arrays [size, ...] on the device."""
    parts = []
    for start in range(0, self.count * self.size, self.size):
      part = rows[start : start + self.size]
      missing = self.size - len(part)
      if missing:
        part = np.pad(part, ((0, missing), *[(0, 0)] * (part.ndim - 1)))
      parts.append(jax.device_put(part))
    return parts

  def join(self, parts: list[jax.Array]) -> np.ndarray:
    """The inverse of `split`, on the host."""
    return np.concatenate([np.asarray(part) for part in parts])[: self.n]


def layout(n: int, size: int = 0) -> Layout:
  """Cuts n rows evenly into tiles of about `size` rows.

  Args:
    n: rows, 1 or more.
    size: at most this, up to rounding to a multiple of 8; 0 takes 1,024 on a
      CPU and 4,096 elsewhere.
  """
  size = size or (1024 if jax.default_backend() == "cpu" else 4096)
  count = math.ceil(n / size)
  return Layout(n, count, 8 * math.ceil(n / count / 8))


class FactorizationError(Exception):
  """The matrix is not positive definite at its precision.

  Attributes:
    row: the first row of the tile where it broke down.
  """

  def __init__(self, row: int):
    super().__init__(f"not positive definite from row {row} on")
    self.row = row


def factor(tiles: Tiles) -> None:
  """Replaces a positive definite matrix by its Cholesky factor L, in place.

  Raises:
    FactorizationError: if it breaks down; the tiles are spoilt then.
  """
  for k in range(len(tiles)):
    tiles[k][k] = pivot = _cholesky(tiles[k][k])
    if not np.isfinite(np.asarray(jnp.trace(pivot))):
      raise FactorizationError(k * len(pivot))
    for i in range(k + 1, len(tiles)):
      tiles[i][k] = _divide(pivot, tiles[i][k])
    for i in range(k + 1, len(tiles)):
      for j in range(k + 1, i + 1):
        tiles[i][j] = subtract_product(tiles[i][j], tiles[i][k], tiles[j][k])


def solve(tiles: Tiles, parts: list[jax.Array]) -> list[jax.Array]:
  """(L L^T)^-1 b for a right-hand side cut like the rows of L."""
  parts = [-part for part in parts]
  for i, row in enumerate(tiles):
    for j in range(i):
      parts[i] = add_product(parts[i], row[j], parts[j])
    parts[i] = _triangular(row[i], -parts[i])
  for i in reversed(range(len(tiles))):
    total = -parts[i]
    for j in range(i + 1, len(tiles)):
      total = add_product(total, tiles[j][i], parts[j], transpose=True)
    parts[i] = _triangular(tiles[i][i], -total, transpose=True)
  return parts


def multiply(tiles: Tiles, parts: list[jax.Array]) -> list[jax.Array]:
  """L L^T b for a right-hand side cut like the rows of L."""
  half = [jnp.zeros_like(part) for part in parts]
  whole = [jnp.zeros_like(part) for part in parts]
  for i, row in enumerate(tiles):
    for j, tile in enumerate(row):
      half[j] = add_product(half[j], tile, parts[i], transpose=True)
  for i, row in enumerate(tiles):
    for j, tile in enumerate(row):
      whole[i] = add_product(whole[i], tile, half[j])
  return whole


@functools.partial(jax.jit, donate_argnums=0, static_argnames="transpose")
def add_product(
  total: jax.Array, tile: jax.Array, part: jax.Array, transpose: bool = False
) -> jax.Array:
  """total + tile part, or total + tile^T part, in the memory of total."""
  tile = tile.T if transpose else tile
  return total + jnp.matmul(tile, part, precision=PRECISION)


@functools.partial(jax.jit, donate_argnums=0)
def subtract_product(c: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
  """c - a b^T, in the memory of c."""
  return c - jnp.matmul(a, b.T, precision=PRECISION)


@functools.partial(jax.jit, donate_argnums=0)
def _cholesky(tile):
  return jax.lax.linalg.cholesky(tile, symmetrize_input=False)


@functools.partial(jax.jit, donate_argnums=1)
def _divide(pivot, tile):
  return jax.lax.linalg.triangular_solve(
    pivot, tile, left_side=False, lower=True, transpose_a=True
  )


@functools.partial(jax.jit, static_argnames="transpose")
def _triangular(tile, part, transpose=False):
  return jax.lax.linalg.triangular_solve(
    tile, part, left_side=True, lower=True, transpose_a=transpose
  )
