import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import errors, models

# Height, width, channels of a 299-pixel image after every module, and how many
# convolutions lead there from the module before it, as in the comments of the
# TensorFlow package.
GRIDS = (
  (35, 256, 7),
  (35, 288, 7),
  (35, 288, 7),
  (17, 768, 4),
  *((17, 768, 10),) * 4,
  (8, 1280, 6),
  *((8, 2048, 9),) * 2,
)
STEM = ((149, 32), (147, 32), (147, 64), (73, 80), (71, 192))


def _model(classes=1000, **attributes):
  call = models.parse("inception_v3()")
  return models.build(call, classes, attributes)


def _variables(model, size):
  images = jnp.zeros((1, size, size, 3))
  key = jax.random.key(0)
  return jax.eval_shape(lambda: model.init(key, images, train=False))


def _parameters(model, size):
  params = _variables(model, size)["params"]
  return sum(x.size for x in jax.tree.leaves(params))


@pytest.mark.parametrize(
  ("attributes", "size", "parameters"),
  [
    (dict(), 299, 23_817_352),
    (dict(), 75, 23_817_352),
    (dict(scale=True), 299, 23_834_568),
    (dict(scale=True, auxiliary_weight=0.4), 299, 27_161_264),
  ],
)
def test_parameter_counts_are_those_of_the_original(
  attributes, size, parameters
):
  assert _parameters(_model(**attributes), size) == parameters


def test_the_kernel_of_the_auxiliary_head_shrinks_with_the_image():
  def head(size):
    params = _variables(_model(auxiliary_weight=0.4), size)["params"]
    layer = params["AuxiliaryHead_0"]["ConvModule_1"]
    return layer["Conv_0"]["kernel"].shape

  assert head(299) == (5, 5, 128, 768)
  assert head(75) == (1, 1, 128, 768)


def test_grids_and_channels_are_those_of_the_original():
  model = _model()
  variables = _variables(model, 299)
  images = jnp.zeros((1, 299, 299, 3))

  def intermediates(variables):
    _, kept = model.apply(
      variables, images, train=False, capture_intermediates=True
    )
    return kept["intermediates"]

  layers = jax.eval_shape(intermediates, variables)
  outputs = [
    layers[f"ConvModule_{i}"]["__call__"][0].shape[2:] for i in range(94)
  ]
  assert "ConvModule_94" not in layers
  assert tuple(outputs[:5]) == STEM
  first, before = 5, 192
  kernels = variables["params"]
  for grid, channels, convolutions in GRIDS:
    block = range(first, first + convolutions)
    inputs = {
      kernels[f"ConvModule_{i}"]["Conv_0"]["kernel"].shape[2] for i in block
    }
    assert before in inputs  # every module begins with what the last one gave
    assert outputs[block[-1]][0] == grid
    first, before = first + convolutions, channels
  assert first == 94
  assert kernels["Dense_0"]["kernel"].shape == (2048, 1000)


def test_batch_norm_has_a_scale_when_asked():
  for scale in (False, True):
    variables = _variables(_model(scale=scale), 75)
    leaves = flax.traverse_util.flatten_dict(variables["params"])
    norms = {path[-1] for path in leaves if "BatchNorm_0" in path}
    assert norms == ({"bias", "scale"} if scale else {"bias"})


def test_initial_deviations_are_those_of_tensorflow():
  model = _model(10, auxiliary_weight=0.4)
  images = jnp.zeros((1, 75, 75, 3))

  @jax.jit
  def kernels():  # only these are computed
    key = jax.random.key(0)
    params = model.init(key, images, train=False)["params"]
    head = params["AuxiliaryHead_0"]
    return (
      params["ConvModule_93"]["Conv_0"]["kernel"],
      head["ConvModule_0"]["Conv_0"]["kernel"],
      head["ConvModule_1"]["Conv_0"]["kernel"],
      head["Dense_0"]["kernel"],
      params["Dense_0"]["kernel"],
    )

  deviations = (0.1, 0.1, 0.01, 0.001, 0.01)
  for kernel, deviation in zip(kernels(), deviations, strict=True):
    # Of a normal distribution of this deviation, cut at two of them.
    assert np.std(kernel) == pytest.approx(0.8796 * deviation, rel=0.05)
    assert np.abs(kernel).max() <= 2 * deviation * (1 + 1e-6)


def test_auxiliary_logits_come_in_training_only():
  model = _model(10, auxiliary_weight=0.4, width=0.1)
  images = jnp.zeros((2, 75, 75, 3))
  variables = _variables(model, 75)
  assert set(variables) == {"params", "batch_stats"}

  def forward(variables, train):
    return model.apply(
      variables, images, train=train, mutable=["batch_stats", "auxiliary"]
    )[1]

  (logits,) = jax.eval_shape(lambda v: forward(v, True), variables)[
    "auxiliary"
  ]["logits"]
  assert logits.shape == (2, 10)
  assert "auxiliary" not in jax.eval_shape(
    lambda v: forward(v, False), variables
  )


def test_an_image_that_is_too_small_is_refused():
  with pytest.raises(errors.ConfigError, match=r"75 pixels or more.*not 74"):
    _variables(_model(), 74)
