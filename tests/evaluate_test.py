from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import evaluate, example, metrics, models
from rethink.methods import eval_splits
from rethink.pipeline import resident
from tests import conftest

FOREVER = 1e9


class BatchNormed(nn.Module):
  """Logits that depend on the running statistics."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    x = images.reshape(len(images), -1)
    x = nn.BatchNorm(use_running_average=not train, use_scale=False)(x)
    return nn.Dense(self.num_classes)(x)


def _examples(n):
  """Examples half of whose labels are wrong."""
  examples = conftest.random_examples(n)
  label = np.where(np.arange(n) % 2, examples.label, (examples.label + 3) % 10)
  return examples._replace(label=label.astype(np.int32))


def _everywhere(sharded):
  return jax.sharding.NamedSharding(sharded.mesh, jax.sharding.PartitionSpec())


def _mlp():
  return models.build(models.parse("mlp(widths=(16,))"), 10, {})


def _variables(model, sharded):
  images = jnp.zeros((1, 8, 8, 3))
  variables = model.init(jax.random.key(0), images, train=False)
  variables = jax.device_put(variables, _everywhere(sharded))
  return variables["params"], variables.get("batch_stats", {})


class Sums(NamedTuple):
  """The sums that these tests look at, against `label` and `true_label`."""

  loss: jax.Array
  correct: jax.Array
  true_loss: jax.Array
  true_correct: jax.Array
  count: jax.Array


class Each(NamedTuple):
  """The values that are kept of every example."""

  loss: jax.Array
  correct: jax.Array


def _static(model, size=8, dtype="float32"):
  return evaluate.Static(
    model,
    10,
    size,
    jnp.dtype(dtype),
    each=(("loss", metrics.loss), ("correct", metrics.accuracy)),
  )


def _evaluate(
  examples,
  sharded,
  batch_size,
  *,
  model=None,
  size=8,
  dtype="float32",
  variables=None,
  each=False,
  chunk_seconds=FOREVER,
  between=lambda: None,
):
  static = _static(model or _mlp(), size, dtype)
  params, batch_stats = variables or _variables(static.model, sharded)
  data = resident.put(examples, _everywhere(sharded))
  found = evaluate.evaluate(
    eval_splits.ResidentSplit(static, data, batch_size, sharded),
    params,
    batch_stats,
    chunk_seconds=chunk_seconds,
    between=between,
  )
  if each:
    return Each(found.each["loss"], found.each["correct"])
  label, true = found.sums.label, found.sums.true_label
  return Sums(
    label["loss"],
    label["accuracy"],
    true["loss"],
    true["accuracy"],
    found.sums.count,
  )


def _logits(params, images):
  """The MLP on whitened images, in float64."""
  x = np.reshape(images, (len(images), -1)) / 255.0
  x = x - x.mean(1, keepdims=True)
  x = x / np.maximum(x.std(1, keepdims=True), x.shape[1] ** -0.5)
  for layer in ("Dense_0", "Dense_1"):
    w, b = (
      np.asarray(params[layer][k], np.float64) for k in ("kernel", "bias")
    )
    x = x @ w + b
    x = np.maximum(x, 0) if layer == "Dense_0" else x
  return x


def _losses(logits, labels):
  norm = np.log(np.exp(logits).sum(-1))
  return norm - logits[np.arange(len(labels)), labels]


def _bits(sums):
  return [np.asarray(x).tobytes() for x in sums]


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 7, 10, 64])
def test_sums_are_those_over_every_example_once(batch_size, devices, sharding):
  examples, sharded = _examples(50), sharding(devices)
  got = _evaluate(examples, sharded, batch_size)
  logits = _logits(_variables(_mlp(), sharded)[0], examples.image)
  predicted = logits.argmax(-1)
  assert got.count == 50
  assert got.correct == (predicted == examples.label).sum()
  assert got.true_correct == (predicted == examples.true_label).sum()
  want = _losses(logits, examples.label).sum()
  true = _losses(logits, examples.true_label).sum()
  np.testing.assert_allclose(got.loss, want, rtol=1e-5)
  np.testing.assert_allclose(got.true_loss, true, rtol=1e-5)
  assert abs(want - true) > 1


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 7, 10, 64])
def test_each_example_has_its_own_loss(batch_size, devices, sharding):
  examples, sharded = _examples(50), sharding(devices)
  got = _evaluate(examples, sharded, batch_size, each=True, chunk_seconds=0)
  logits = _logits(_variables(_mlp(), sharded)[0], examples.image)
  want = [
    _losses(x[None], y[None])
    for x, y in zip(logits, examples.label, strict=True)
  ]
  np.testing.assert_allclose(got.loss, np.ravel(want), rtol=1e-5)
  assert got.loss.shape == (50,) and got.loss.dtype == np.float32
  np.testing.assert_array_equal(
    got.correct, logits.argmax(-1) == examples.label
  )


def test_the_model_sees_the_centre_of_the_image(sharding):
  examples = _examples(20)
  crop = examples._replace(image=example.center_crop(examples.image, 6))
  model = models.build(models.parse("mlp(widths=())"), 10, {})
  images = jnp.zeros((1, 6, 6, 3))
  params = model.init(jax.random.key(0), images, train=False)["params"]
  one, other = (
    _evaluate(part, sharding(1), 8, model=model, size=6, variables=(params, {}))
    for part in (examples, crop)
  )
  assert _bits(one) == _bits(other)


@pytest.mark.parametrize("devices", [1, 2])
def test_chunking_changes_no_bit(devices, sharding):
  examples, calls = _examples(50), []
  one_by_one = _evaluate(
    examples,
    sharding(devices),
    4,
    chunk_seconds=0.0,
    between=lambda: calls.append(1),
  )
  assert len(calls) == 13
  growing = _evaluate(
    examples, sharding(devices), 4, between=lambda: calls.append(2)
  )
  assert len(calls) - 13 == 3
  assert _bits(one_by_one) == _bits(growing)


def test_between_may_stop_the_pass(sharding):
  class StopError(Exception):
    pass

  calls = []

  def between():
    calls.append(1)
    if len(calls) == 2:
      raise StopError

  with pytest.raises(StopError):
    _evaluate(_examples(50), sharding(1), 4, chunk_seconds=0.0, between=between)
  assert len(calls) == 2


def test_a_split_compiles_once_however_it_is_chunked(sharding):
  sharded, batch_size = sharding(1), 5
  program = evaluate.compile_eval_steps(_static(_mlp()), batch_size, sharded)
  for seconds in (0.0, FOREVER):
    _evaluate(_examples(37), sharded, batch_size, chunk_seconds=seconds)
  assert program._cache_size() == 1


def test_evaluation_uses_the_running_statistics_and_leaves_them(sharding):
  model, sharded = BatchNormed(10), sharding(1)
  params, batch_stats = _variables(model, sharded)
  before = jax.device_get(batch_stats)
  shifted = jax.tree.map(lambda x: x + 1.0, batch_stats)
  results = [
    _evaluate(
      _examples(20), sharded, 8, model=model, variables=(params, statistics)
    )
    for statistics in (batch_stats, shifted, batch_stats)
  ]
  assert results[0].loss != results[1].loss
  assert _bits(results[0]) == _bits(results[2])
  for one, other in zip(
    jax.tree.leaves(before), jax.tree.leaves(batch_stats), strict=True
  ):
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
  "model", [_mlp(), BatchNormed(10)], ids=["mlp", "batch norm"]
)
def test_half_precision_is_near_and_sums_in_single_precision(model, sharding):
  sharded, examples = sharding(1), _examples(50)
  single = _evaluate(examples, sharded, 16, model=model)
  half = _evaluate(examples, sharded, 16, model=model, dtype="bfloat16")
  assert half.loss.dtype == np.float32
  assert half.loss != single.loss
  np.testing.assert_allclose(half.loss, single.loss, rtol=1e-2)
  images = jnp.zeros((2, 8, 8, 3))
  out = evaluate.logits(
    model, *_variables(model, sharded), images, jnp.dtype("bfloat16")
  )
  assert out.dtype == jnp.float32


def test_cast_leaves_integers_alone():
  tree = {"w": jnp.ones(2), "n": jnp.int32(3), "key": jax.random.key(0)}
  got = evaluate.cast(tree, jnp.dtype("bfloat16"))
  assert got["w"].dtype == jnp.bfloat16
  assert got["n"].dtype == jnp.int32
  assert got["key"].dtype == tree["key"].dtype


def test_nothing_evaluates_to_nothing(sharding):
  got = _evaluate(_examples(0), sharding(1), 8)
  assert not any(np.asarray(x).any() for x in got)


@pytest.mark.parametrize(
  "size, seconds, target, want",
  [
    (1, 5.0, 5.0, 1),
    (8, 5.0, 5.0, 8),
    (8, 10.0, 5.0, 4),
    (8, 4.0, 5.0, 10),
    (8, 0.0, 5.0, 32),
    (8, 1e-3, 5.0, 32),
    (8, 100.0, 5.0, 1),
    (8, 1.0, 0.0, 1),
  ],
)
def test_chunks_grow_at_most_fourfold_towards_their_seconds(
  size, seconds, target, want
):
  assert evaluate.grow(size, seconds, target) == want
