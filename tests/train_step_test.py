import logging
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import (
  compiled,
  errors,
  evaluate,
  example,
  regularizers,
  schedules,
  settings,
  train_step,
)
from rethink.methods import eval_splits
from rethink.pipeline import resident
from tests import conftest

HERE = __name__
MLP = "mlp(widths=(16,))"
CONV = f"{HERE}:TinyConv()"
PATHS = pytest.mark.parametrize("model", [MLP, CONV], ids=["device", "host"])
SEEN: list[tuple[int, float]] = []


class TinyConv(nn.Module):
  """The cheapest model that is driven from the host."""

  num_classes: int
  dropout_rate: float = 0.0

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.Conv(4, (3, 3), strides=2, use_bias=False)(images)
    x = nn.BatchNorm(not train, momentum=0.9, use_scale=False)(x)
    x = nn.relu(x).reshape(len(x), -1)
    x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
    return nn.Dense(self.num_classes)(x)


class InputNorm(nn.Module):
  """Batch norm on the image itself, whose statistics are then known."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.BatchNorm(not train, momentum=0.9, use_scale=False)(images)
    return nn.Dense(self.num_classes)(x.reshape(len(x), -1))


class TwoHeads(nn.Module):
  """A linear classifier and in training another one, alike, beside it."""

  num_classes: int
  auxiliary_weight: float | None = 0.0

  @nn.compact
  def __call__(self, images, *, train):
    x = images.reshape(len(images), -1)
    zeros = nn.initializers.zeros_init()
    if self.auxiliary_weight != 0 and (train or self.is_initializing()):
      head = nn.Dense(self.num_classes, kernel_init=zeros, name="side")(x)
      if train:
        self.sow("auxiliary", "logits", head)
    return nn.Dense(self.num_classes, kernel_init=zeros, name="main")(x)


class Counting(nn.Module):
  """Keeps a variable that is neither a parameter nor a batch statistic."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    self.variable("tally", "calls", lambda: jnp.int32(0))
    return nn.Dense(self.num_classes)(images.reshape(len(images), -1))


def spy():
  """Notes the image's first pixel, and a number drawn with the key."""

  def note(pixel, draw):
    SEEN.append((int(np.rint(pixel * 255)), float(draw)))

  def augment(key, image, size):
    jax.debug.callback(note, image[0, 0, 0], jax.random.uniform(key))
    return image

  return regularizers.Regularizer(augment=augment)


def explodes(step, run, at: float = 3.0):
  """A schedule whose factor is not a number at one step."""
  return jnp.where(step == at, jnp.nan, 1.0)


class Setup(NamedTuple):
  """A run without its loop."""

  config: Any
  static: compiled.Static
  inputs: compiled.Traced
  keys: compiled.Keys
  data: resident.Resident
  replicated: jax.sharding.NamedSharding
  steps: int

  def state(self, init_key=None):
    create = train_step.compile_initializer(self.static, 3, self.replicated)
    return create(self.inputs, self.keys.init if init_key is None else init_key)

  def order(self, epoch):
    n = len(self.data.label)
    return resident.epoch_order(self.keys.order, jnp.int32(epoch), n)

  def epochs(self, state, epochs=1, chunk=10**6, inputs=None):
    """The state after so many epochs, advanced `chunk` steps at a time."""
    advance = train_step.compile_train_steps(self.static, 3)
    for epoch in range(epochs):
      order = self.order(epoch)
      for start in range(0, self.steps, chunk):
        stop = min(start + chunk, self.steps)
        state = advance(
          state, self.data, order, inputs or self.inputs, start, stop
        )
    return state

  def accuracy(self, state):
    sums = self.evaluate(state)
    return sums.label["accuracy"] / sums.count

  def evaluate(self, state, model=None):
    sharded, dtype = self.static.sharding, self.static.dtype
    static = evaluate.Static(model or self.static.model, 10, 8, dtype)
    return evaluate.evaluate(
      eval_splits.ResidentSplit(static, self.data, 16, sharded),
      *state.evaluated,
      chunk_seconds=1e9,
      between=lambda: None,
    ).sums


@pytest.fixture
def setup(config, sharding):
  """Makes a `Setup` from changed config fields; 50 examples, batches of 8."""

  def make(examples=None, devices=1, **fields) -> Setup:
    for name, value in {"batch_size": 8, "model": MLP, **fields}.items():
      config[name] = value
    examples = examples or _examples(50)
    run = settings.resolve(config)
    sharded = sharding(devices)
    replicated = jax.sharding.NamedSharding(
      sharded.mesh, jax.sharding.PartitionSpec()
    )
    steps = -(-len(examples.id) // config.batch_size)
    length = schedules.Length(
      jnp.int32(steps), jnp.int32(steps * config.num_epochs)
    )
    keys = compiled.keys(config.seed)
    return Setup(
      config,
      compiled.static_arguments(run, 10, sharded),
      compiled.traced_arguments(run, length, keys.noise),
      keys,
      resident.put(examples, replicated),
      replicated,
      steps,
    )

  return make


def _examples(n) -> example.Example:
  """Examples whose first pixel is their position; some labels are wrong."""
  examples = conftest.random_examples(n)
  examples.image[:, 0, 0, 0] = np.arange(n)
  label = np.where(np.arange(n) % 3, examples.label, (examples.label + 1) % 10)
  return examples._replace(label=label.astype(np.int32))


def _bits(tree):
  return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def _close(one, other, **tolerance):
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_allclose(a, b, **tolerance)


def test_the_order_of_an_epoch_is_a_permutation_of_its_own():
  def order(seed, epoch):
    key = compiled.keys(seed).order
    return tuple(resident.epoch_order(key, jnp.int32(epoch), 50).tolist())

  orders = [order(seed, epoch) for seed in (0, 1) for epoch in range(4)]
  assert all(sorted(o) == list(range(50)) for o in orders)
  assert len(set(orders)) == 8
  assert order(1, 3) == orders[-1]


@PATHS
def test_an_epoch_visits_every_example_once(model, setup):
  run = setup(model=model, regularizers=(f"{HERE}:spy()",))
  SEEN.clear()
  state = run.epochs(run.state(), epochs=2, chunk=3)
  jax.block_until_ready(state)
  jax.effects_barrier()
  pixels = sorted(pixel for pixel, _ in SEEN)
  assert pixels == sorted(2 * list(range(50)))
  assert len({draw for _, draw in SEEN}) == 100
  assert (state.step, state.sums.count) == (14, 50)


@pytest.mark.parametrize("n", [5, 8, 16])
def test_an_epoch_of_one_or_two_batches(n, setup):
  run = setup(_examples(n))
  state = run.epochs(run.state(), epochs=2)
  assert (state.step, state.sums.count) == (2 * -(-n // 8), n)


@PATHS
def test_chunking_changes_no_bit(model, setup):
  run = setup(
    model=model,
    regularizers=("dropout(0.3)", "random_flip()", "weight_decay(0.01)"),
  )
  in_one_go = run.epochs(run.state(), epochs=2)
  assert in_one_go.step == 14
  for chunk in (1, 2, 7):
    assert _bits(run.epochs(run.state(), 2, chunk)) == _bits(in_one_go)


@pytest.mark.parametrize("model, n", [(MLP, 45), (MLP, 50), (CONV, 45)])
def test_two_devices_learn_what_one_learns(model, n, setup):
  def learn(devices):
    run = setup(_examples(n), devices=devices, model=model)
    state = run.epochs(run.state())
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(state))
    assert len(state.step.devices()) == devices
    return jax.device_get(state)

  one, two = learn(1), learn(2)
  _close(one, two, rtol=1e-4, atol=1e-5)
  assert one.sums.count == two.sums.count == n


def _softmax_regression(run, start, epochs, decay, epsilon, momentum):
  """(weights, bias, last epoch's loss, true loss, hits) in float64."""
  images, label, true_label = (np.asarray(field) for field in run.data)
  x = images.reshape(len(images), -1) / 255.0
  x = x - x.mean(1, keepdims=True)
  x = x / np.maximum(x.std(1, keepdims=True), x.shape[1] ** -0.5)
  w, b = (
    np.asarray(start["Dense_0"][k], np.float64) for k in ("kernel", "bias")
  )
  moved_w, moved_b = np.zeros_like(w), np.zeros_like(b)
  for epoch in range(epochs):
    rate = 0.05 * 0.9**epoch
    loss, true_loss, hits = 0.0, 0.0, 0
    for index in np.split(run.order(epoch), range(8, len(label), 8)):
      logits = x[index] @ w + b
      p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
      rows = np.arange(len(index))
      loss -= np.log(p[rows, label[index]]).sum()
      true_loss -= np.log(p[rows, true_label[index]]).sum()
      hits += (logits.argmax(1) == label[index]).sum()
      target = np.eye(10)[label[index]] * (1 - epsilon) + epsilon / 10
      slope = (p - target) / len(index)
      moved_w = momentum * moved_w + x[index].T @ slope + decay * w
      moved_b = momentum * moved_b + slope.sum(0)
      w, b = w - rate * moved_w, b - rate * moved_b
  return w, b, loss, true_loss, hits


def test_training_is_softmax_regression_in_numpy(setup):
  run = setup(
    model="mlp(widths=())",
    learning_rate=0.05,
    schedule="exponential(decay=0.9)",
    optimizer="sgd(momentum=0.8)",
    regularizers=("label_smoothing(0.2)", "weight_decay(0.1)"),
  )
  start = run.state()
  w, b, loss, true_loss, hits = _softmax_regression(
    run, start.params, 3, decay=0.1, epsilon=0.2, momentum=0.8
  )
  got = run.epochs(start, epochs=3)
  dense = got.params["Dense_0"]
  np.testing.assert_allclose(dense["kernel"], w, rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(dense["bias"], b, rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(got.sums.loss, loss, rtol=1e-4)
  np.testing.assert_allclose(got.sums.true_loss, true_loss, rtol=1e-4)
  assert (got.sums.correct, got.sums.count) == (hits, 50)


def test_batch_statistics_are_those_of_the_training_batches(setup):
  run = setup(model=f"{HERE}:InputNorm()", batch_size=50)
  start = run.state()
  before = jax.device_get(start.batch_stats["BatchNorm_0"])
  assert (before["mean"] == 0).all() and (before["var"] == 1).all()
  state = run.epochs(start)
  x = np.asarray(run.data.image) / 255.0
  x = x - x.mean((1, 2, 3), keepdims=True)
  x = x / x.std((1, 2, 3), keepdims=True)
  after = jax.device_get(state.batch_stats["BatchNorm_0"])
  np.testing.assert_allclose(after["mean"], 0.1 * x.mean((0, 1, 2)), atol=1e-6)
  variance = 0.9 + 0.1 * x.var((0, 1, 2))
  np.testing.assert_allclose(after["var"], variance, rtol=1e-5)
  run.evaluate(state)
  assert _bits(after) == _bits(state.batch_stats["BatchNorm_0"])


def test_half_precision_learns_and_keeps_single_precision_state(setup):
  run = setup(model=f"{HERE}:InputNorm()", dtype="bfloat16")
  start = run.state()
  before = run.evaluate(start)
  state = run.epochs(start, epochs=10)
  assert run.evaluate(state).label["loss"] < 0.3 * before.label["loss"]
  for x in jax.tree.leaves((state.params, state.batch_stats, state.opt_state)):
    assert x.dtype == jnp.float32


def test_an_auxiliary_head_learns_by_its_weight_and_is_in_no_metric(setup):
  def learn(weight, **fields):
    run = setup(
      model=f"{HERE}:TwoHeads(auxiliary_weight={weight})",
      regularizers=("label_smoothing(0.2)",),
      loss="squared_error()",  # of both heads
      **fields,
    )
    return run, run.epochs(run.state(), epochs=2)

  run, both = learn(0.25)
  _, alone = learn(0.0)
  _, slower = learn(0.0, learning_rate=run.config.learning_rate / 4)
  assert set(alone.params) == {"main"}
  _close(both.params["main"], alone.params["main"], rtol=1e-5, atol=1e-7)
  _close(both.params["side"], slower.params["main"], rtol=1e-5, atol=1e-7)
  _close(both.sums, alone.sums, rtol=1e-5)
  want = run.evaluate(alone, TwoHeads(10))
  _close(run.evaluate(both), want, rtol=1e-5)


def test_an_auxiliary_head_without_a_weight_is_refused(setup):
  run = setup(model=f"{HERE}:TwoHeads(auxiliary_weight=None)")
  with pytest.raises(errors.ConfigError, match="auxiliary_weight"):
    run.epochs(run.state())


@pytest.mark.parametrize("decay", [0.15, 0.5, 0.999])
def test_averages_are_those_of_tensorflow(decay, setup):
  run = setup(model=f"{HERE}:InputNorm()", ema_decay=decay)
  state = run.state()
  advance = train_step.compile_train_steps(run.static, 3)
  want = jax.device_get((state.params, state.batch_stats))
  assert _bits(state.averages) == _bits(want)
  for step in range(run.steps):
    state = advance(state, run.data, run.order(0), run.inputs, step, step + 1)
    kept = min(decay, (1 + step) / (10 + step))
    new = jax.device_get((state.params, state.batch_stats))
    want = jax.tree.map(
      lambda old, now, kept=kept: kept * old + (1 - kept) * now, want, new
    )
  _close(state.averages, want, rtol=1e-5, atol=1e-7)
  assert state.evaluated is state.averages


def test_without_a_decay_there_are_no_averages(setup):
  state = setup().state()
  assert state.averages == ()
  assert state.evaluated == (state.params, state.batch_stats)


@pytest.mark.parametrize("model, at", [(MLP, 0.0), (MLP, 9.0), (CONV, 3.0)])
def test_the_first_bad_step_is_kept(model, at, setup):
  run = setup(model=model, schedule=f"{HERE}:explodes({at})")
  assert run.epochs(run.state(), epochs=2).bad_step == at + 1


def test_a_sound_run_has_no_bad_step(setup):
  run = setup()
  assert run.epochs(run.state(), epochs=2).bad_step == -1


def test_numbers_seeds_and_labels_do_not_compile_again(setup, caplog):
  def learn(decay, smoothing, rate, momentum, epochs, seed, label):
    examples = _examples(50)
    run = setup(
      examples._replace(label=(examples.label + label) % 10),
      regularizers=(f"weight_decay({decay})", f"label_smoothing({smoothing})"),
      learning_rate=rate,
      optimizer=f"sgd(momentum={momentum})",
      schedule=f"exponential(decay={decay})",
      num_epochs=epochs,
      seed=seed,
    )
    run.epochs(run.state())
    return run

  def compilations(*args):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "jax"), jax.log_compiles():
      run = learn(*args)
    said = [r.getMessage() for r in caplog.records]
    return run, [line for line in said if line.startswith("Compiling")]

  first, lines = compilations(0.1, 0.1, 0.05, 0.9, 2, 0, 0)
  assert any("many" in line for line in lines)
  second, again = compilations(0.2, 0.3, 0.01, 0.5, 7, 5, 4)
  assert again == []
  assert train_step.compile_train_steps(
    first.static, 3
  ) is train_step.compile_train_steps(second.static, 3)
  other = setup(regularizers=("weight_decay(0.1)",))
  assert train_step.compile_train_steps(
    other.static, 3
  ) is not train_step.compile_train_steps(first.static, 3)


def _random_labels():
  examples = conftest.random_examples(64)
  label = np.random.default_rng(7).integers(0, 10, 64).astype(np.int32)
  return examples._replace(label=label)


def test_random_labels_are_fitted(setup):
  run = setup(_random_labels(), model="mlp(widths=(64,))", batch_size=16)
  state = run.epochs(run.state(), epochs=40)
  assert run.accuracy(state) == 1
  assert run.evaluate(state).true_label["accuracy"] < 32


def test_a_step_that_does_not_move_fits_nothing(setup):
  run = setup(_random_labels(), model="mlp(widths=(64,))", batch_size=16)
  still = run.inputs._replace(learning_rate=jnp.float32(0))
  state = run.epochs(run.state(), epochs=40, inputs=still)
  assert _bits(state.params) == _bits(run.state().params)
  assert run.accuracy(state) < 0.5


def test_dropout_is_drawn_anew_at_every_step(setup):
  run = setup(
    model=MLP, batch_size=50, regularizers=("dropout(0.5)",), num_epochs=9
  )
  still = run.inputs._replace(learning_rate=jnp.float32(0))

  def losses(inputs):
    state, out = run.state(), []
    for _ in range(3):
      state = run.epochs(state, inputs=inputs)
      out.append(float(state.sums.loss))
    return out

  drawn = losses(still)
  # The same 50 examples, summed in another order: only dropout can do this.
  assert min(np.abs(np.diff([*drawn, drawn[0]]))) > 0.1
  assert drawn == losses(still)
  assert drawn != losses(still._replace(key=jax.random.key(99)))


def test_dropout_does_not_touch_evaluation(setup):
  run = setup(regularizers=("dropout(0.5)",))
  plain = run.static.model.clone(dropout_rate=0.0)
  state = run.state()
  assert _bits(run.evaluate(state)) == _bits(run.evaluate(state, plain))
  clean = float(run.evaluate(state).label["loss"])
  assert abs(float(run.epochs(state).sums.loss) - clean) > 1


def test_seeds_draw_initializations(setup):
  first, same, other = (setup(seed=seed).state() for seed in (0, 0, 1))
  assert _bits(first) == _bits(same)
  assert _bits(first.params) != _bits(other.params)
  keys = compiled.keys(0)
  assert len({tuple(jax.random.key_data(k).tolist()) for k in keys}) == 3


def test_sums_start_again_with_every_epoch(setup):
  run = setup(learning_rate=0.05)
  state = run.epochs(run.state(), epochs=20)
  assert state.sums.count == 50
  assert state.sums.loss < 50 * np.log(10) / 2


def test_a_model_that_keeps_other_variables_is_refused(setup):
  run = setup(model=f"{HERE}:Counting()")
  with pytest.raises(errors.ConfigError, match=r"config\.model.*'tally'"):
    run.state()


@pytest.mark.parametrize(
  "model, by_host",
  [
    (MLP, False),
    ("mlp(widths=())", False),
    (CONV, True),
    ("alexnet(width=0.1)", True),
    ("inception(width=0.1)", True),
  ],
)
def test_convolutions_are_driven_from_the_host_on_a_cpu(model, by_host, setup):
  assert train_step.drives_from_host(setup(model=model).static, 3) == by_host


def test_only_the_cpu_is_driven_from_the_host(setup, monkeypatch):
  static = setup(model=CONV).static
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert not train_step.drives_from_host(static, 3)


def test_the_statistics_of_sam_are_those_of_the_unperturbed_pass(setup):
  def learn(*regularizers):
    run = setup(model=CONV, regularizers=regularizers)
    advance = train_step.compile_train_steps(run.static, 3)
    state = run.state()
    return advance(state, run.data, run.order(0), run.inputs, 0, 1)

  plain, far = learn(), learn("sam(0.5)")
  _close(far.batch_stats, plain.batch_stats, rtol=1e-6)
  _close(far.sums, plain.sums, rtol=1e-6)
  moved = jax.tree.map(lambda a, b: abs(a - b).max(), far.params, plain.params)
  assert max(jax.tree.leaves(moved)) > 1e-3


def test_what_is_drawn_for_a_step_depends_on_seed_and_step_alone(setup):
  def learn(chunk, **fields):
    run = setup(
      _examples(48),  # whole batches only: less to compile
      regularizers=("mixup(1.0)", "sam()", "gradient_noise(0.1)"),
      **fields,
    )
    return _bits(run.epochs(run.state(), 2, chunk).params)

  assert learn(1) == learn(3) == learn(7) != learn(7, seed=1)


def test_two_devices_mix_what_one_mixes(setup):
  def learn(devices):
    run = setup(
      _examples(48),
      devices=devices,
      regularizers=("cutmix()", "gradient_clipping(0.5)"),
      loss="generalized_cross_entropy()",
    )
    return jax.device_get(run.epochs(run.state()))

  _close(learn(1), learn(2), rtol=1e-4, atol=1e-5)
