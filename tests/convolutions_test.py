import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from rethink import models
from rethink.cpu import convolutions

LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
  """Switches on what the tests' two virtual devices would switch off."""
  monkeypatch.setattr(jax, "device_count", lambda: 1)


def _case(size, kernel, stride, dtype, batch=5):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(batch, size, size, 3)).astype(dtype)
  w = rng.normal(size=(kernel, kernel, 3, 4)).astype(dtype)

  def loss(convolve, x, w, padding="SAME"):
    numbers = lax.conv_dimension_numbers(x.shape, w.shape, LAYOUT)
    strides = (stride, stride)
    y = convolve(x, w, strides, padding, dimension_numbers=numbers)
    return jnp.sum(jnp.sin(y)), y

  return x, w, loss


def _gradients(convolve, x, w, loss, padding="SAME"):
  loss = functools.partial(loss, convolve, padding=padding)
  (_, y), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(x, w)
  return y, *grads


@pytest.mark.parametrize("padding", ["SAME", "VALID", [(2, 0), (1, 3)]])
@pytest.mark.parametrize("kernel, stride", [(1, 1), (1, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("size", [6, 7])
def test_values_and_gradients_are_those_of_lax(
  size, kernel, stride, padding, monkeypatch
):
  monkeypatch.setattr(convolutions, "_PIXELS", 80)  # several parts, one short
  with jax.enable_x64(True):
    case = _case(size, kernel, stride, np.float64)
    ours = _gradients(convolutions.conv_general_dilated, *case, padding)
    theirs = _gradients(lax.conv_general_dilated, *case, padding)
  for a, b in zip(ours, theirs, strict=True):
    assert a.dtype == np.float64
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel, stride", [(1, 1), (3, 1), (3, 2)])
def test_compiled_in_float32_they_are_so_to_rounding(kernel, stride):
  x, w, loss = _case(14, kernel, stride, np.float64, batch=40)
  with jax.enable_x64(True):
    exact = _gradients(lax.conv_general_dilated, x, w, loss)
  x, w = jnp.float32(x), jnp.float32(w)
  ours = functools.partial(
    _gradients, convolutions.conv_general_dilated, loss=loss
  )
  compiled = jax.jit(ours)
  first, second = compiled(x, w), compiled(x, w)
  for a, again, b in zip(first, second, exact, strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())
    np.testing.assert_array_equal(a, again)


@pytest.mark.parametrize("name", ["alexnet", "inception"])
def test_every_convolution_of_the_models_is_ours(name):
  model = models.build(models.parse(f"{name}(width=0.1)"), 10, {})
  x = jnp.zeros((1, 8, 8, 3))
  init = functools.partial(model.init, jax.random.key(0), train=False)
  text = str(jax.make_jaxpr(init)(x))
  assert text.count(" conv_general_dilated[") == text.count("name=_convolve\n")


def _plain(x, w, loss, **kwargs):
  def call(x, w):
    numbers = lax.conv_dimension_numbers(x.shape, w.shape, LAYOUT)
    return convolutions.conv_general_dilated(
      x, w, (1, 1), "SAME", dimension_numbers=numbers, **kwargs
    )

  return "_convolve" not in str(jax.make_jaxpr(call)(x, w))


def test_dilation_groups_and_several_devices_are_left_to_lax(monkeypatch):
  case = _case(6, 3, 1, np.float32)
  assert not _plain(*case)
  assert _plain(*case, rhs_dilation=(2, 2))
  grouped = np.zeros((3, 3, 1, 3), np.float32)
  assert _plain(case[0], grouped, None, feature_group_count=3)
  monkeypatch.setattr(jax, "device_count", lambda: 2)
  assert _plain(*case)
