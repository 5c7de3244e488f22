import functools
import importlib
import sys
import textwrap

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import errors, models
from rethink.models import alexnet

COUNTS = {
  "inception()": 1_649_402,
  "inception(batch_norm=False)": 1_649_402,
  "alexnet()": 1_387_786,
  "mlp(widths=(512, 512, 512))": 1_735_178,
  "mlp(widths=(512,))": 1_209_866,
}
# Figure 3: (output size, output channels, parameters) of each block.
FIGURE_3 = (
  (28, 96, 2_688),
  (28, 64, 30_784),
  (28, 80, 29_776),
  (14, 160, 57_680),
  (14, 160, 87_200),
  (14, 160, 107_680),
  (14, 160, 128_160),
  (14, 144, 146_064),
  (7, 240, 124_512),
  (7, 336, 388_176),
  (7, 336, 543_312),
)
DOWNSAMPLE = {3, 8}


def _model(text, num_classes=10, **overrides):
  return models.build(models.parse(text), num_classes, overrides)


def _small(name, num_classes=10, **overrides):
  """The model with few filters, if it has a factor on them."""
  call = models.parse(name)
  if "width" in call.kwargs:
    call = models.parse(f"{name}(width=0.1)")
  return models.build(call, num_classes, overrides)


def _smallest(name):
  """Pixels on a side of the smallest images that are tried with a model."""
  module = importlib.import_module(f"rethink.models.{name}")
  return getattr(module, "SMALLEST", 8)


def _shapes(model, images):
  """The variables' shapes, without computing any."""
  key = jax.random.key(0)
  return jax.eval_shape(lambda: model.init(key, images, train=False))


def _size(tree):
  return sum(x.size for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_logits_have_a_row_per_image_and_a_column_per_class(name, dtype):
  key = jax.random.key(0)
  for more, channels, classes in ((0, 1, 3), (20, 3, 10), (25, 3, 10)):
    model = _small(name, classes)
    size = _smallest(name) + more
    images = jnp.zeros((2, size, size, channels), dtype)
    variables = _shapes(model, images)
    assert set(variables) <= {"params", "batch_stats"}
    for train in (False, True):

      def forward(variables, model=model, images=images, train=train):
        cast = jax.tree.map(lambda x: x.astype(dtype), variables["params"])
        return model.apply(
          {**variables, "params": cast},
          images,
          train=train,
          rngs={"dropout": key},
          mutable=["batch_stats"],
        )

      logits, updated = jax.eval_shape(forward, variables)
      assert logits.shape == (2, classes)
      assert logits.dtype == dtype
      kept = updated.get("batch_stats", {})
      assert kept == variables.get("batch_stats", {})


@pytest.fixture(scope="module", params=models.names())
def outputs(request):
  """Logits of a small model with dropout; computed once, by what was asked."""
  model = _small(request.param, dropout_rate=0.5)
  rng = np.random.default_rng(0)
  size = _smallest(request.param)
  images = jnp.asarray(rng.normal(size=(4, size, size, 3)), jnp.float32)
  others = images.at[1:].add(1.0)
  options = {"xla_backend_optimization_level": 0}
  compiled = functools.partial(jax.jit, compiler_options=options)

  @compiled
  def init():
    return model.init(jax.random.key(0), images, train=False)

  @compiled
  def forward(variables, images):
    return model.apply(variables, images, train=False)

  @compiled
  def train(variables, seed):
    logits, updated = model.apply(
      variables,
      images,
      train=True,
      rngs={"dropout": jax.random.key(seed)},
      mutable=["batch_stats"],
    )
    return logits, updated.get("batch_stats", {})

  variables = init()
  half = dict(variables)
  half["params"] = jax.tree.map(jnp.bfloat16, variables["params"])
  logits, stats = train(variables, 1)
  return jax.device_get(
    {
      "eval": forward(variables, images),
      "eval of others": forward(variables, others),
      "eval in half": forward(half, jnp.bfloat16(images)),
      "train": logits,
      "train again": train(variables, 1)[0],
      "train otherwise": train(variables, 2)[0],
      "stats before": variables.get("batch_stats", {}),
      "stats after": stats,
    }
  )


def test_every_output_is_finite(outputs):
  for value in jax.tree.leaves(outputs):
    assert np.isfinite(np.float32(value)).all()


def test_half_precision_is_near(outputs):
  want = outputs["eval"]
  error = np.abs(np.float32(outputs["eval in half"]) - want).max()
  assert 0 < error < 0.05 * np.abs(want).max()


def test_evaluation_of_an_image_does_not_depend_on_the_others(outputs):
  one, other = outputs["eval"], outputs["eval of others"]
  assert np.array_equal(one[0], other[0])
  assert not np.array_equal(one[1], other[1])


def test_dropout_is_drawn_by_its_key_and_in_training_only(outputs):
  assert np.array_equal(outputs["train"], outputs["train again"])
  assert not np.array_equal(outputs["train"], outputs["train otherwise"])


def test_batch_statistics_move_in_training(outputs):
  before = jax.tree.leaves(outputs["stats before"])
  after = jax.tree.leaves(outputs["stats after"])
  for one, other in zip(before, after, strict=True):
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("text", COUNTS)
def test_parameter_counts_are_those_of_table_1(text):
  images = jnp.zeros((1, 28, 28, 3))
  assert _size(_shapes(_model(text), images)["params"]) == COUNTS[text]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_inception_is_that_of_figure_3_block_by_block(batch_norm):
  model = _model(f"inception(batch_norm={batch_norm})")
  images = jnp.zeros((1, 28, 28, 3))
  variables = _shapes(model, images)

  def intermediates(variables):
    return model.apply(
      variables, images, train=False, capture_intermediates=True
    )[1]["intermediates"]

  layers = jax.eval_shape(intermediates, variables)
  module, channels = 0, 0
  for block, (size, filters, parameters) in enumerate(FIGURE_3):
    branches = 1 if block == 0 or block in DOWNSAMPLE else 2
    names = [f"ConvModule_{module + i}" for i in range(branches)]
    outputs = [layers[name]["__call__"][0].shape for name in names]
    assert {shape[1:3] for shape in outputs} == {(size, size)}
    pooled = channels if block in DOWNSAMPLE else 0
    channels = pooled + sum(shape[3] for shape in outputs)
    assert channels == filters
    assert _size([variables["params"][n] for n in names]) == parameters
    module += branches
  assert f"ConvModule_{module}" not in variables["params"]
  assert variables["params"]["Dense_0"]["kernel"].shape == (336, 10)


def test_batch_norm_has_a_shift_and_no_scale():
  images = jnp.zeros((1, 28, 28, 3))
  with_norm = _shapes(_model("inception()"), images)
  without = _shapes(_model("inception(batch_norm=False)"), images)
  leaves = flax.traverse_util.flatten_dict(with_norm["params"])
  norms = {path[-1] for path in leaves if "BatchNorm_0" in path}
  convs = {path[-1] for path in leaves if "Conv_0" in path}
  assert (norms, convs) == ({"bias"}, {"kernel"})
  assert "batch_stats" not in without


@pytest.mark.parametrize("channels", [3, 6, 64])
@pytest.mark.parametrize("radius", [1, 4])
def test_local_response_normalization_divides_by_neighbouring_channels(
  channels, radius
):
  x = 10 * np.random.default_rng(0).normal(size=(2, 3, 4, channels))
  want = np.empty_like(x)
  for c in range(channels):
    window = x[..., max(0, c - radius) : c + radius + 1]
    squares = (window**2).sum(-1)
    want[..., c] = x[..., c] / (2 + 0.01 * squares) ** 0.75
  got = alexnet.local_response_normalization(
    jnp.float32(x), radius, bias=2.0, alpha=0.01
  )
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_local_response_normalization_keeps_the_type():
  x = jnp.full((1, 2, 2, 8), 30, jnp.bfloat16)
  got = alexnet.local_response_normalization(x)
  assert got.dtype == jnp.bfloat16
  squares = 900 * np.array([5, 6, 7, 8, 8, 7, 6, 5])
  want = 30 / (1 + 0.001 / 9 * squares) ** 0.75
  np.testing.assert_allclose(np.float32(got[0, 0, 0]), want, rtol=1e-2)


def test_a_wrong_name_prints_the_names_that_exist():
  with pytest.raises(errors.ConfigError) as caught:
    models.parse("resnet(depth=18)")
  assert "config.model" in str(caught.value)
  assert "resnet" in str(caught.value)
  assert ", ".join(models.names()) in str(caught.value)


def test_a_wrong_argument_prints_the_arguments_that_exist():
  with pytest.raises(errors.ConfigError, match=r"'depth'.*width"):
    models.parse("inception(depth=3)")


@pytest.fixture
def own_module(tmp_path, monkeypatch):
  """A module of the user's own: `my_net.py` with the class `MyNet`."""
  source = """
    import flax.linen as nn

    class MyNet(nn.Module):
      num_classes: int
      width: int = 2

      @nn.compact
      def __call__(self, images, *, train):
        x = nn.relu(nn.Dense(self.width)(images.reshape(len(images), -1)))
        return nn.Dense(self.num_classes)(x)
  """
  (tmp_path / "my_net.py").write_text(textwrap.dedent(source))
  monkeypatch.syspath_prepend(tmp_path)
  yield "my_net"
  sys.modules.pop("my_net", None)


def test_a_model_of_the_users_own(own_module):
  call = models.parse(f"{own_module}:MyNet(width=3)")
  assert str(call) == "my_net:MyNet(width=3)"
  variables = _shapes(models.build(call, 5, {}), jnp.zeros((1, 2, 2, 1)))
  assert _size(variables) == (4 * 3 + 3) + (3 * 5 + 5)


def test_a_model_that_its_module_lacks_is_named(own_module):
  with pytest.raises(errors.ConfigError, match="YourNet"):
    models.parse(f"{own_module}:YourNet()")
  with pytest.raises(errors.ConfigError, match="no_such_module"):
    models.parse("no_such_module:YourNet()")


def test_what_a_model_does_not_take_is_refused(own_module):
  call = models.parse(f"{own_module}:MyNet()")
  with pytest.raises(errors.ConfigError) as caught:
    models.build(call, 10, {"dropout_rate": 0.5})
  assert "MyNet" in str(caught.value)
  assert "dropout_rate" in str(caught.value)


def test_an_initializer_is_a_call_with_arguments():
  model = _model("mlp(kernel_init='truncated_normal(stddev=0.04)')")
  kernel = model.init(jax.random.key(0), jnp.ones((1, 28, 28, 3)), train=False)[
    "params"
  ]["Dense_0"]["kernel"]
  # Of a normal distribution of this deviation, cut at two of them.
  assert np.std(kernel) == pytest.approx(0.04 * 0.8796, rel=0.01)
  assert np.abs(kernel).max() <= 0.08


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("nowhere", "there is no 'nowhere'; there are: .*he_normal"),
    ("he_normal(0.1, 2, 3, 4, 5)", "too many arguments"),
    ("variance_scaling", "needs a value for 'scale'"),
    ("normal('wide')", "makes no initializer"),
  ],
)
def test_a_wrong_initializer_is_named(text, message):
  with pytest.raises(errors.ConfigError, match=message):
    models.initializer(text)
