"""Linen and NNX modules as models: modes, random streams, clear refusals."""

import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rethink import (
  compiled,
  errors,
  forward,
  models,
  schedules,
  settings,
  signals,
  train_step,
)
from rethink.forward import batch_norm, checks
from rethink.methods import runner
from rethink.pipeline import resident

HERE = "tests.forward_test"
SHAPE = (4, 4, 1)
IMAGES = np.random.default_rng(0).normal(size=(6, *SHAPE)).astype(np.float32)
KEY = jax.random.key(7)


class Plain(nnx.Module):
  """Everything at once: sizes, a list of layers, batch norm, dropout."""

  def __init__(self, num_classes, image_shape, rngs, features: int = 4):
    height, width, channels = image_shape
    self.layers = nnx.List(
      [
        nnx.Conv(channels, features, (3, 3), rngs=rngs),
        nnx.Conv(features, features, (3, 3), rngs=rngs),
      ]
    )
    self.norm = nnx.BatchNorm(features, momentum=0.9, rngs=rngs)
    self.dropout = nnx.Dropout(0.5, rngs=rngs)
    self.head = nnx.Linear(height * width * features, num_classes, rngs=rngs)

  def __call__(self, images):
    x = images
    for layer in self.layers:
      x = layer(x)
    x = nnx.relu(self.norm(x)).reshape(len(x), -1)
    return self.head(self.dropout(x))


class WithTrain(Plain):
  """Says its mode by an argument instead."""

  def __call__(self, images, *, train):
    x = self.layers[1](self.layers[0](images))
    x = nnx.relu(self.norm(x, use_running_average=not train))
    x = self.dropout(x.reshape(len(x), -1), deterministic=not train)
    return self.head(x)


class Noisy(nnx.Module):
  """Draws from a stream that is not dropout."""

  def __init__(self, num_classes, image_shape, rngs):
    self.head = nnx.Linear(int(np.prod(image_shape)), num_classes, rngs=rngs)
    self.rngs = rngs

  def __call__(self, images, *, train):
    x = images.reshape(len(images), -1)
    if train:
      x = x + jax.random.normal(self.rngs.noise(), x.shape)
    return self.head(x)


class OwnStream(nnx.Module):
  """A user's mistake: the same mask at every step."""

  def __init__(self, num_classes, image_shape, rngs):
    self.head = nnx.Linear(int(np.prod(image_shape)), num_classes, rngs=rngs)
    self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

  def __call__(self, images):
    return self.head(self.dropout(images.reshape(len(images), -1)))


class Flat(nnx.Module):
  """One linear layer."""

  def __init__(self, num_classes, image_shape, rngs):
    self.Dense_0 = nnx.Linear(int(np.prod(image_shape)), num_classes, rngs=rngs)

  def __call__(self, images):
    return self.Dense_0(images.reshape(len(images), -1))


class Cached(Flat):
  """Keeps a variable that nobody trains or saves."""

  def __init__(self, num_classes, image_shape, rngs):
    super().__init__(num_classes, image_shape, rngs)
    self.calls = nnx.Cache(jnp.zeros(()))


class NoRngs(nnx.Module):
  def __init__(self, num_classes):
    pass

  def __call__(self, images):
    return images


class NeedsMore(Flat):
  def __call__(self, images, temperature):
    return super().__call__(images) / temperature


class Linen(nn.Module):
  """The last layer as `output` says."""

  num_classes: int
  output: str = "logits"

  @nn.compact
  def __call__(self, images, *, train):
    x = images.reshape(len(images), -1)
    init = nn.initializers.lecun_normal()
    if self.output == "zeros":
      init = nn.initializers.zeros
    if self.output == "attention":
      x = nn.softmax(nn.Dense(8)(x)) * nn.Dense(8)(x)
    x = nn.Dense(self.num_classes, kernel_init=init)(x)
    return {
      "logits": lambda: x,
      "zeros": lambda: nn.silu(x),
      "attention": lambda: x,
      "log_softmax": lambda: nn.log_softmax(x),
      "softmax": lambda: nn.softmax(x),
      "sigmoid": lambda: nn.sigmoid(x),
      "relu": lambda: nn.relu(nn.silu(x)),
      "tuple": lambda: (x, x),
      "dict": lambda: {"logits": x},
    }[self.output]()


class Streams(nn.Module):
  """Draws from three streams; `always` in evaluation, too."""

  num_classes: int
  always: bool = False

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.Dense(self.num_classes)(images.reshape(len(images), -1))
    if train or self.always:
      for name in ("noise", "other"):
        x = x + jax.random.normal(self.make_rng(name), x.shape)
    return nn.Dropout(0.5, deterministic=not train)(x)


class NoTrain(nn.Module):
  num_classes: int

  @nn.compact
  def __call__(self, images):
    return nn.Dense(self.num_classes)(images.reshape(len(images), -1))


class NoClasses(nn.Module):
  @nn.compact
  def __call__(self, images, *, train):
    return images


class NoModule:
  def __init__(self, num_classes):
    pass


class Broken(nn.Module):
  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    raise KeyError("of the user's own")


class Shrinking(nn.Module):
  """Pools until nothing is left of 8x8 pixels."""

  num_classes: int
  pools: int = 3
  flat: bool = True

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.Conv(4, (3, 3), name="first")(images)
    for _ in range(self.pools):
      x = nn.max_pool(x, (3, 3), (2, 2))
    x = x.reshape(len(x), -1) if self.flat else x.mean((1, 2))
    return nn.Dense(self.num_classes)(x)


class ShrinkingNnx(nnx.Module):
  """Convolves until nothing is left of 8x8 pixels."""

  def __init__(self, num_classes: int, rngs: nnx.Rngs):
    self.first = nnx.Conv(1, 4, (9, 9), padding="VALID", rngs=rngs)
    self.last = nnx.Linear(4, num_classes, rngs=rngs)

  def __call__(self, images):
    return self.last(self.first(images).mean((1, 2)))


class Norms(nn.Module):
  """Two batch norms with different momenta, and other statistics."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    seen = self.variable("batch_stats", "seen", lambda: jnp.float32(0))
    if train:
      seen.value += 1
    x = images.reshape(len(images), -1)
    x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x)
    x = nn.relu(nn.Dense(5)(x))
    x = nn.BatchNorm(use_running_average=not train, momentum=0.999)(x)
    return nn.Dense(self.num_classes)(x)


def build(text, num_classes=3):
  return models.build(models.parse(f"{HERE}:{text}"), num_classes, {})


def init(model):
  return forward.init(model, jax.random.key(0), jnp.asarray(IMAGES))[1]


def train(model, variables, key=KEY):
  return forward.apply(model, variables, IMAGES, train=True, key=key)


def evaluate(model, variables):
  return forward.apply(model, variables, IMAGES, train=False)[0]


def check(model):
  variables = init(model)
  stats = variables.get("batch_stats", {})
  checks.check_initialized(model, variables["params"], stats, SHAPE)


def same(one, other):
  return jax.tree.all(jax.tree.map(np.array_equal, one, other))


@pytest.mark.parametrize("name", ["Plain", "WithTrain"])
def test_an_nnx_module_keeps_parameters_and_statistics_only(name):
  variables = init(build(f"{name}(features=2)"))
  assert set(variables) == {"params", "batch_stats"}
  assert set(variables["params"]) == {"layers", "norm", "head"}
  assert variables["params"]["layers"][0]["kernel"].shape == (3, 3, 1, 2)
  assert set(variables["batch_stats"]["norm"]) == {"mean", "var"}


@pytest.mark.parametrize("name", ["Plain", "WithTrain"])
def test_the_mode_of_an_nnx_module_is_that_of_the_pass(name):
  model = build(f"{name}()")
  variables = init(model)
  logits, updated, _ = train(model, variables)
  assert same(logits, train(model, variables)[0])
  other = train(model, variables, jax.random.key(8))[0]
  assert not same(logits, other)
  assert not same(updated["batch_stats"], variables["batch_stats"])
  clean = evaluate(model, variables)
  one, *_ = forward.apply(model, variables, IMAGES[:1], train=False)
  np.testing.assert_allclose(clean[:1], one, atol=1e-5)


def test_an_nnx_module_draws_its_parameters_from_the_key():
  model = build("Plain()")
  other = forward.init(model, jax.random.key(1), jnp.asarray(IMAGES))[1]
  assert not same(init(model)["params"], other["params"])


@pytest.mark.parametrize("name", ["Noisy", "Streams"])
def test_any_stream_is_drawn_by_the_key_of_the_step(name):
  model = build(f"{name}()")
  variables = init(model)
  one, other = (train(model, variables, jax.random.key(s)) for s in (1, 2))
  assert not same(one[0], other[0])
  assert same(one[0], train(model, variables, jax.random.key(1))[0])


def test_dropout_has_the_key_itself_and_other_streams_fold_their_names_in():
  model = build("Streams()")
  variables = init(model)
  rngs = {
    name: jax.random.fold_in(KEY, np.uint32(zlib.crc32(name.encode())))
    for name in ("noise", "other")
  }
  want = model.apply(
    variables, IMAGES, train=True, rngs={"dropout": KEY, **rngs}
  )
  assert same(train(model, variables)[0], want)


def test_random_numbers_in_evaluation_are_refused():
  model = build("Streams(always=True)")
  with pytest.raises(errors.ConfigError, match=r"'noise'.*only if train"):
    evaluate(model, init(model))


def test_an_nnx_stream_of_its_own_is_refused():
  with pytest.raises(errors.ConfigError, match=r"dropout.*pass rngs on"):
    check(build("OwnStream()"))
  check(build("Noisy()"))


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("NoModule()", "'.*NoModule' is a class, but must be a Flax module"),
    ("NoClasses()", "must take num_classes"),
    ("NoTrain()", "must take train"),
    ("NoRngs()", "must take rngs"),
    ("NeedsMore()", "__call__ of .* needs temperature"),
  ],
)
def test_what_is_no_model_is_refused_in_a_sentence(text, message):
  with pytest.raises(errors.ConfigError, match=rf"config\.model.*{message}"):
    build(text)


@pytest.mark.parametrize("output", ["tuple", "dict"])
def test_logits_and_something_else_are_refused(output):
  with pytest.raises(errors.ConfigError, match=f"a {output};.*logits alone"):
    init(build(f"Linen(output={output!r})"))


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("classes", [2, 10])
def test_probabilities_are_refused(output, classes):
  model = build(f"Linen(output={output!r})", classes)
  with pytest.raises(errors.ConfigError, match=f"{output}.*return what its"):
    check(model)


@pytest.mark.parametrize(
  "output", ["logits", "zeros", "attention", "log_softmax", "relu"]
)
@pytest.mark.parametrize("classes", [2, 10])
def test_logits_are_not_taken_for_probabilities(output, classes):
  check(build(f"Linen(output={output!r})", classes))


def _built(text):
  return models.build(models.parse(text), 10, {})


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("tests.forward_test:Shrinking()", r"Shrinking makes .* \(0, 0, 4\)"),
    ("tests.forward_test:Shrinking(flat=False)", "Shrinking makes"),
    ("tests.forward_test:ShrinkingNnx()", r"ToLinen_0 makes .* \(0, 0, 4\)"),
  ],
)
def test_a_layer_of_nothing_is_refused_by_name(text, said):
  with pytest.raises(errors.ConfigError, match=f"{said}.*8x8 pixels"):
    forward.refuse_empty(_built(text), (8, 8, 1))


@pytest.mark.parametrize(
  "text", ["tests.forward_test:Shrinking(pools=2)", "mlp()", "alexnet()"]
)
def test_a_layer_of_one_pixel_is_not_refused(text):
  forward.refuse_empty(_built(text), (8, 8, 1))


def test_a_run_of_a_layer_of_nothing_saves_nothing(config, tmp_path, data_dir):
  config.model = "tests.forward_test:Shrinking()"
  with pytest.raises(errors.ConfigError, match="has no elements"):
    runner.execute(config, str(tmp_path), data_dir, signals.StopFlag())
  assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("name", models.names())
def test_the_models_of_the_package_are_not_tried_out(name, monkeypatch):
  monkeypatch.setattr(checks, "_refuse_probabilities", None)
  model = models.build(models.parse(name), 10, {})
  size = 75 if name == "inception_v3" else 28
  checks.check_initialized(model, {}, {}, (size, size, 3))


def test_a_fault_in_a_module_keeps_its_traceback():
  with pytest.raises(KeyError, match="of the user's own"):
    init(build("Broken()"))


def _steps(text, config, params=None, steps=3):
  """The state after some steps on fixed images."""
  with config.unlocked():
    config.model = f"{HERE}:{text}"
    config.image_size = 4
    config.ema_decay = 0.5
    config.regularizers = ("weight_decay(0.1)",)
  replicated, sharded = resident.shardings()
  run = settings.resolve(config)
  static = compiled.static_arguments(run, 3, sharded)
  length = schedules.Length(jnp.int32(3), jnp.int32(9))
  traced = compiled.traced_arguments(run, length, KEY)
  state = train_step.compile_initializer(static, 1, replicated)(traced, KEY)
  if params is not None:
    state = state.replace(params=params, averages=(params, {}))
  rng = np.random.default_rng(1)
  image = rng.integers(0, 256, (6, *SHAPE)).astype(np.uint8)
  label = np.arange(6, dtype=np.int32) % 3
  batch = jax.device_put(resident.Resident(image, label, label), replicated)
  step = train_step.compile_train_step(static)
  first = jax.device_get(state)
  for _ in range(steps):
    state = step(state, batch, traced)
  return first, jax.device_get(state)


def test_an_nnx_layer_trains_like_its_linen_twin(config):
  first, linen = _steps("NoTrainButDense()", config)
  _, found = _steps("Flat()", config, params=first.params)
  assert not same(linen.params, first.params)
  for one, other in (
    (linen.params, found.params),
    (linen.averages, found.averages),
  ):
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), one, other
    )


class NoTrainButDense(nn.Module):
  """The Linen twin of `Flat`."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    return nn.Dense(self.num_classes)(images.reshape(len(images), -1))


def test_other_variables_are_named_with_what_to_change(config):
  with pytest.raises(errors.ConfigError, match=r"'cache'.*nnx\.BatchStat"):
    _steps("Cached()", config)


def test_statistics_of_one_batch_are_numpys():
  model = build("Norms()")
  variables = init(model)
  found = jax.device_get(
    batch_norm.batch_statistics(model, variables, IMAGES, KEY)
  )
  assert set(found) == {
    f"BatchNorm_{i}/{name}" for i in (0, 1) for name in ("mean", "var")
  }
  x = IMAGES.reshape(len(IMAGES), -1).astype(np.float64)
  mean, var = x.mean(0), x.var(0)
  np.testing.assert_allclose(found["BatchNorm_0/mean"], mean, atol=1e-6)
  np.testing.assert_allclose(found["BatchNorm_0/var"], var, rtol=1e-5)
  dense = jax.device_get(variables["params"]["Dense_0"])
  normed = (x - mean) / np.sqrt(var + 1e-5)
  hidden = np.maximum(normed @ dense["kernel"] + dense["bias"], 0)
  np.testing.assert_allclose(found["BatchNorm_1/mean"], hidden.mean(0), 1e-5)
  np.testing.assert_allclose(found["BatchNorm_1/var"], hidden.var(0), 1e-4)


def test_statistics_of_an_nnx_batch_norm_are_those_of_the_batch():
  model = build("Plain()")
  variables = init(model)
  found = batch_norm.batch_statistics(model, variables, IMAGES, KEY)
  updated = train(model, variables)[1]["batch_stats"]["norm"]
  assert set(found) == {"norm/mean", "norm/var"}
  for name, before in (("mean", 0.0), ("var", 1.0)):
    want = 0.9 * before + 0.1 * found[f"norm/{name}"]
    np.testing.assert_allclose(updated[name], want, rtol=1e-5, atol=1e-7)
