"""Convolutions with gradients that XLA's CPU backend computes fast.

`nn.Conv(..., conv_general_dilated=convolutions.conv_general_dilated)` has the
same parameters as a plain `nn.Conv` and, up to rounding, the same results. On
other devices it uses `lax` unchanged. LOG.md has the measurements behind every
choice here.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")
# Output pixels per partial sum of a weight gradient. XLA computes the gradient
# as a convolution whose "kernel" is the output gradient at all pixels, and with
# more than a few thousand pixels that no longer fits into the cache.
_PIXELS = 3136

Strides = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def conv_general_dilated(
  lhs: jax.Array,
  rhs: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  lhs_dilation: Sequence[int] | None = None,
  rhs_dilation: Sequence[int] | None = None,
  dimension_numbers: Any = None,
  feature_group_count: int = 1,
  precision: Any = None,
) -> jax.Array:
  """Convolves as `lax.conv_general_dilated`, with gradients fast on one CPU.

  The fast gradients apply to convolutions without dilation and groups, which
  then cannot be differentiated in forward mode. Several devices keep the
  gradients of `lax`: partial sums slice the batch, and slicing a sharded batch
  would copy it between devices.
  """
  plain = (
    lhs.ndim == 4
    and feature_group_count == 1
    and set((*(lhs_dilation or ()), *(rhs_dilation or ()))) <= {1}
    and dimension_numbers
    == lax.conv_dimension_numbers(lhs.shape, rhs.shape, _LAYOUT)
  )
  if plain and jax.default_backend() == "cpu" and jax.device_count() == 1:
    if isinstance(padding, str):
      shapes = lhs.shape[1:3], rhs.shape[:2]
      padding = lax.padtype_to_pads(*shapes, window_strides, padding)
    pads = tuple((low, high) for low, high in padding)
    return _convolve(lhs, rhs, tuple(window_strides), pads, precision)
  return lax.conv_general_dilated(
    lhs,
    rhs,
    window_strides,
    padding,
    lhs_dilation,
    rhs_dilation,
    dimension_numbers,
    feature_group_count,
    precision=precision,
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(
  x: jax.Array, kernel: jax.Array, strides: Strides, pads: Pads, precision: Any
) -> jax.Array:
  return lax.conv_general_dilated(
    x,
    kernel,
    strides,
    pads,
    dimension_numbers=_LAYOUT,
    precision=precision,
  )


def _forward(x, kernel, strides, pads, precision):
  return _convolve(x, kernel, strides, pads, precision), (x, kernel)


def _backward(strides, pads, precision, saved, grads):
  x, kernel = saved
  plain = functools.partial(
    lax.conv_general_dilated,
    window_strides=strides,
    padding=pads,
    dimension_numbers=_LAYOUT,
    precision=precision,
  )
  _, input_vjp = jax.vjp(lambda x: plain(x, kernel), x)
  (dx,) = input_vjp(grads)
  # The weight gradient of a 1x1 convolution is one matrix product.
  one_by_one = kernel.shape[:2] == strides == (1, 1)
  if one_by_one and pads == ((0, 0), (0, 0)):
    images_and_pixels = (((0, 1, 2), (0, 1, 2)), ((), ()))
    dkernel = lax.dot_general(x, grads, images_and_pixels, precision=precision)
    return dx, dkernel[None, None]

  def part(start: int, stop: int) -> jax.Array:
    images = x[start:stop]
    _, kernel_vjp = jax.vjp(lambda kernel: plain(images, kernel), kernel)
    return kernel_vjp(grads[start:stop])[0]

  number = round(len(x) * grads.shape[1] * grads.shape[2] / _PIXELS)
  images = max(1, -(-len(x) // max(1, number)))
  parts = [part(i, i + images) for i in range(0, len(x), images)]
  return dx, functools.reduce(jnp.add, parts)


_convolve.defvjp(_forward, _backward)
