import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink.cpu import pooling


def _reference(x):
  return nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")


def _gradient(pool, x, weights):
  return jax.grad(lambda x: jnp.sum(pool(x) * weights))(x)


@pytest.mark.parametrize("shape", [(2, 8, 6, 3), (1, 2, 2, 1), (2, 7, 6, 3)])
@pytest.mark.parametrize("levels", [3, 10**6], ids=["ties", "no ties"])
def test_values_and_gradients_are_those_of_flax(shape, levels):
  rng = np.random.default_rng(0)
  with jax.enable_x64(True):
    x = rng.integers(-levels, levels, shape) / levels
    y = _reference(x)
    weights = rng.normal(size=y.shape)
    np.testing.assert_array_equal(pooling.max_pool(x), y)
    ours = _gradient(pooling.max_pool, x, weights)
    theirs = _gradient(_reference, x, weights)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_an_accelerator_keeps_the_gradient_of_xla(monkeypatch):
  x = jnp.zeros((1, 4, 4, 1))

  def is_ours():
    # A new function each time: traces are remembered.
    return "custom_vjp" in str(jax.make_jaxpr(lambda x: pooling.max_pool(x))(x))

  assert is_ours()
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert not is_ours()
