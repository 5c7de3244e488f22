import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import (
  bits,
  compiled,
  regularizers,
  schedules,
  settings,
  specs,
  train_step,
)
from rethink.pipeline import crops, resident
from tests import conftest

KNOWN = specs.public(regularizers)
AUGMENTS = [
  name
  for name in sorted(KNOWN)
  if specs.parse(name, KNOWN, "regularizers")().augment
]
PARAMS = {
  "Conv_0": {"kernel": (3, 3, 2, 4), "bias": (4,)},
  "BatchNorm_0": {"scale": (4,), "bias": (4,)},
  "Dense_0": {"kernel": (4, 5), "bias": (5,)},
}
DECAYED = {
  "kernels": {("Conv_0", "kernel"), ("Dense_0", "kernel")},
  "dense": {("Dense_0", "kernel")},
  "all": {(layer, name) for layer in PARAMS for name in PARAMS[layer]},
}


def _params():
  rng = np.random.default_rng(0)
  return {
    layer: {
      name: jnp.float32(rng.normal(size=shape))
      for name, shape in leaves.items()
    }
    for layer, leaves in PARAMS.items()
  }


def _image(size=8, channels=3):
  """An image in [0, 1] no two pixels of which are equal."""
  pixels = np.random.default_rng(0).permutation(size * size * channels)
  return np.float32(pixels.reshape(size, size, channels) / pixels.size)


def _draws(regularizer, image, size=8, n=200):
  """n augmentations of one image, each with its own key."""
  keys = jax.random.split(jax.random.key(0), n)
  augment = jax.vmap(lambda key: regularizer.augment(key, image, size))
  return np.asarray(jax.jit(augment)(keys))


def _act(regularizer, image):
  """Returns what each hook of the training step makes of an input."""
  key, params = jax.random.key(1), _params()
  images, step = jnp.stack([image, image[::-1]]), jnp.int32(3)
  return {
    "augment": regularizer.augment and regularizer.augment(key, image, 6),
    "targets": regularizer.targets and regularizer.targets(jnp.eye(4)),
    "batch": regularizer.batch and regularizer.batch(key, images, jnp.eye(2)),
    "gradient": regularizer.gradient
    and regularizer.gradient(lambda p: (p, 0.0), params, key, step),
    "penalty": regularizer.penalty and regularizer.penalty(params),
    "update": regularizer.update and regularizer.update(params, params, 0.1),
  }


def _trained(config, sharding, *calls, optimizer="sgd()", rate=0.05):
  """Parameters after three steps with these regularizers."""
  config.regularizers, config.optimizer = calls, optimizer
  config.learning_rate = rate
  run = settings.resolve(config)
  sharded = sharding(1)
  replicated = jax.sharding.NamedSharding(
    sharded.mesh, jax.sharding.PartitionSpec()
  )
  static = compiled.static_arguments(run, 10, sharded)
  keys = compiled.keys(0)
  length = schedules.Length(jnp.int32(3), jnp.int32(9))
  inputs = compiled.traced_arguments(run, length, keys.noise)
  state = train_step.compile_initializer(static, 3, replicated)(
    inputs, keys.init
  )
  data = resident.put(conftest.random_examples(150), replicated)
  order = resident.epoch_order(keys.order, jnp.int32(0), 150)
  return train_step.compile_train_steps(static, 3)(
    state, data, order, inputs, 0, 3
  ).params


def _bits(tree):
  return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_regularizer_acts_in_exactly_one_place(name):
  regularizer = specs.parse(name, KNOWN, "regularizers")()
  assert isinstance(regularizer, regularizers.Regularizer)
  acting = {k for k, hook in regularizer._asdict().items() if hook}
  # `frame` is what `augment` is on the stream path.
  assert acting == {"augment", "frame"} or len(acting) == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_numbers_may_be_traced(name, channels):
  call = specs.parse(name, KNOWN, "regularizers")
  image, traced = _image(channels=channels), []

  @jax.jit
  def act(numbers):
    traced.append(name)
    return _act(call.static(numbers), image)

  want = jax.tree.leaves(jax.jit(lambda: _act(call(), image))())
  for one, other in zip(jax.tree.leaves(act(call.numbers)), want, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
  act({k: v / 2 for k, v in call.numbers.items()})
  assert len(traced) == 1


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_regularizer_trains_and_changes_what_is_learned(
  name, config, sharding
):
  config.model = "mlp(widths=(8,))"
  config.image_size = 6  # a crop needs room
  with_it = _trained(config, sharding, name)
  without = _trained(config, sharding)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(with_it))
  assert _bits(with_it) != _bits(without)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", AUGMENTS)
def test_augmented_images_stay_images(name, channels):
  regularizer = specs.parse(name, KNOWN, "regularizers")()
  image = _image(channels=channels)
  got = _draws(regularizer, image, size=6)
  assert got.dtype == np.float32
  assert got.shape[1] == got.shape[2] >= 6 and got.shape[3] == channels
  assert got.min() >= -1e-6 and got.max() <= 1 + 1e-6
  assert len({draw.tobytes() for draw in got}) > 1


@pytest.mark.parametrize("tensors", DECAYED)
def test_the_gradient_of_weight_decay_is_the_coefficient_times_w(tensors):
  params = _params()
  penalty = regularizers.weight_decay(0.3, tensors=tensors).penalty
  gradient = jax.grad(penalty)(params)
  squares = 0.0
  for layer, name in DECAYED["all"]:
    w = np.asarray(params[layer][name], np.float64)
    chosen = (layer, name) in DECAYED[tensors]
    squares += chosen * (w**2).sum()
    np.testing.assert_allclose(
      gradient[layer][name], 0.3 * chosen * w, rtol=1e-6
    )
  np.testing.assert_allclose(penalty(params), 0.15 * squares, rtol=1e-6)


@pytest.mark.parametrize("tensors", DECAYED)
def test_decoupled_weight_decay_shrinks_w(tensors):
  params = _params()
  decay = regularizers.weight_decay(0.3, decoupled=True, tensors=tensors)
  got = decay.update(params, params, jnp.float32(0.1))
  for layer, name in DECAYED["all"]:
    w = np.asarray(params[layer][name], np.float64)
    factor = 1 - 0.1 * 0.3 if (layer, name) in DECAYED[tensors] else 1.0
    np.testing.assert_allclose(got[layer][name], w * factor, rtol=1e-6)


@pytest.mark.parametrize("decoupled", [False, True])
def test_a_coefficient_of_zero_changes_no_bit(decoupled, config, sharding):
  call = f"weight_decay(0.0, decoupled={decoupled})"
  with_it = _trained(config, sharding, call)
  assert _bits(with_it) == _bits(_trained(config, sharding))


def test_both_forms_of_weight_decay_are_the_same_for_plain_sgd(
  config, sharding
):
  config.model, plain = "mlp(widths=())", "sgd(momentum=0.0)"
  coupled, decoupled = (
    _trained(
      config,
      sharding,
      f"weight_decay(0.5, decoupled={form})",
      optimizer=plain,
      rate=0.5,
    )
    for form in (False, True)
  )
  kernels = [p["Dense_0"]["kernel"] for p in (coupled, decoupled)]
  np.testing.assert_allclose(*kernels, rtol=1e-4, atol=1e-5)


def test_both_forms_of_weight_decay_differ_with_momentum(config, sharding):
  coupled, decoupled = (
    _trained(config, sharding, f"weight_decay(0.5, decoupled={form})")
    for form in (False, True)
  )
  kernels = [p["Dense_0"]["kernel"] for p in (coupled, decoupled)]
  assert not np.allclose(*kernels, atol=1e-2)


@pytest.mark.parametrize(
  "size, padding, channels", [(6, 0, 3), (8, 1, 1), (7, 0, 3)]
)
def test_a_random_crop_is_any_window_of_the_padded_image(
  size, padding, channels
):
  image = _image(channels=channels)
  padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
  places = len(padded) - size + 1
  windows = {
    padded[i : i + size, j : j + size].tobytes()
    for i in range(places)
    for j in range(places)
  }
  n = 20 * places**2
  draws = _draws(regularizers.random_crop(padding=padding), image, size, n)
  assert draws.shape[1:] == (size, size, channels)
  assert {draw.tobytes() for draw in draws} == windows


def test_a_random_resized_crop_is_a_window_of_the_image():
  height, width, size = 60, 90, 30
  y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
  image = jnp.asarray(np.stack([y, x, 0 * x], -1), jnp.float32) + 0.5
  augment = regularizers.random_resized_crop().augment
  assert augment
  keys = jax.random.split(jax.random.key(0), 500)
  got = np.asarray(jax.vmap(lambda key: augment(key, image, size))(keys))
  inside = got[:, 3:-3, 3:-3]  # the border of the image is repeated
  steps = np.diff(inside[..., 0], axis=1), np.diff(inside[..., 1], axis=2)
  assert all(np.ptp(s, axis=(1, 2)).max() < 1e-3 for s in steps)  # linear
  h, w = (s.mean((1, 2)) * size for s in steps)
  top, left = (
    got[:, size // 2, size // 2, c] - s.mean((1, 2)) * (size + 1) / 2
    for c, s in enumerate(steps)
  )
  area, aspect = h * w / (height * width), w / h
  assert 0.0999 < area.min() < 0.12 and 0.7 < area.max() < 1.001
  assert 0.749 < aspect.min() < 0.8 and 1.28 < aspect.max() < 1.331
  assert min(top.min(), left.min()) > -0.01
  assert (top + h).max() < height + 0.01 and (left + w).max() < width + 0.01


def test_random_resized_crops_are_distributed_like_those_of_the_stream_path():
  frame = crops.RandomCrop(30)
  regularizer = regularizers.random_resized_crop()
  assert regularizer.frame == {
    k: v for k, v in frame._asdict().items() if k not in ("size", "reduced")
  }
  height, width, n = 60, 90, 3000
  words = bits.bits(0, "test", np.arange(n), frame.words)
  boxes = [frame.box(height, width, bits.uniform(row)) for row in words]
  theirs = np.array([(b.height * b.width, b.width / b.height) for b in boxes])
  ours = _areas_and_aspects(regularizer, height, width, n)
  # Five standard errors, and what rounding to pixels moves.
  for one, other in zip(ours.T, theirs.T, strict=True):
    error = 5 * one.std() / n**0.5 + 0.005 * one.mean()
    assert abs(one.mean() - other.mean()) < error
    assert abs(one.std() - other.std()) < error


def _areas_and_aspects(regularizer, height, width, n):
  """float[n, 2], from crops of two ramps."""
  y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
  image = jnp.asarray(np.stack([y, x], -1), jnp.float32)
  keys = jax.random.split(jax.random.key(0), n)
  got = jax.vmap(lambda key: regularizer.augment(key, image, 30))(keys)
  steps = np.asarray(got[:, 20, 20] - got[:, 10, 10]) / 10
  return np.stack(
    [900 * steps[:, 0] * steps[:, 1], steps[:, 1] / steps[:, 0]], 1
  )


def test_a_crop_of_all_of_a_square_is_the_image():
  image = jnp.asarray(conftest.random_examples(1).image[0], jnp.float32)
  augment = regularizers.random_resized_crop(1.0, 0.9, 1.0, 1.0).augment
  assert augment
  got = augment(jax.random.key(0), image, 8)
  np.testing.assert_allclose(got, image, atol=1e-4)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_a_flip_is_the_image_or_its_mirror(probability):
  image, n = _image(), 1000
  draws = _draws(regularizers.random_flip(probability), image, n=n)
  flipped = (draws == image[:, ::-1]).all((1, 2, 3))
  assert (flipped | (draws == image).all((1, 2, 3))).all()
  sigma = np.sqrt(n * probability * (1 - probability))
  assert abs(flipped.sum() - n * probability) <= 4.5 * sigma


def test_a_rotation_by_nothing_is_the_identity():
  draws = _draws(regularizers.random_rotation(0.0), _image(), n=3)
  np.testing.assert_allclose(draws, np.stack([_image()] * 3), atol=1e-5)


def test_the_inside_of_a_constant_image_stays_and_corners_are_black():
  image = np.full((16, 16, 3), 0.7, np.float32)
  draws = _draws(regularizers.random_rotation(25.0), image)
  i, j = np.meshgrid(np.arange(16) - 7.5, np.arange(16) - 7.5)
  inside = np.hypot(i, j) <= 7
  np.testing.assert_allclose(draws[:, inside], 0.7, rtol=1e-5)
  assert draws[:, 0, 0].min() == 0


@pytest.mark.parametrize("degrees", [5.0, 25.0])
def test_rotation_angles_are_uniform_up_to_their_bound(degrees):
  x, y = np.meshgrid(np.arange(33) - 16.0, np.arange(33) - 16.0)
  blob = np.exp(-((x - 10) ** 2 + y**2) / 8)[..., None]
  draws = _draws(regularizers.random_rotation(degrees), np.float32(blob))[
    ..., 0
  ]
  mass = draws.sum((1, 2))
  angle = np.degrees(
    np.arctan2((draws * y).sum((1, 2)) / mass, (draws * x).sum((1, 2)) / mass)
  )
  assert np.abs(angle).max() <= 1.01 * degrees
  assert angle.max() > 0.9 * degrees and angle.min() < -0.9 * degrees
  assert abs(angle.std() - degrees / np.sqrt(3)) < 0.1 * degrees


@pytest.mark.parametrize("channels", [1, 3])
def test_color_jitter_of_no_range_is_the_identity(channels):
  image = _image(channels=channels)
  draws = _draws(regularizers.color_jitter(0.0, 0.0, 0.0, 0.0), image, n=3)
  np.testing.assert_allclose(draws, np.stack([image] * 3), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_adds_a_number_up_to_its_bound(channels):
  image = 0.4 + 0.2 * _image(channels=channels)
  draws = _draws(regularizers.color_jitter(0.125, 0.0, 0.0, 0.0), image)
  added = draws - image
  shift = added.mean((1, 2, 3))
  np.testing.assert_allclose(added.std((1, 2, 3)), 0, atol=1e-5)
  assert 0.11 < shift.max() <= 0.125 + 1e-5
  assert -0.11 > shift.min() >= -0.125 - 1e-5


def test_contrast_scales_the_distance_from_the_mean():
  image = 0.4 + 0.2 * _image(channels=1)
  draws = _draws(regularizers.color_jitter(0.0, 0.5, 0.0, 0.0), image)
  factor = draws.std((1, 2, 3)) / image.std()
  want = image.mean() + factor[:, None, None, None] * (image - image.mean())
  np.testing.assert_allclose(draws, want, atol=1e-5)
  assert 0.5 - 1e-4 <= factor.min() < 0.55
  assert 1.45 < factor.max() <= 1.5 + 1e-4


def _hsv(image):
  return np.array([colorsys.rgb_to_hsv(*p) for p in image.reshape(-1, 3)])


def test_hue_turns_all_pixels_by_one_angle_up_to_its_bound():
  image = 0.25 + 0.5 * _image(size=4)
  draws = _draws(regularizers.color_jitter(0.0, 0.0, 0.0, 0.2), image, n=50)
  turns = []
  for draw in draws:
    difference = _hsv(draw) - _hsv(image)
    np.testing.assert_allclose(difference[:, 1:], 0, atol=1e-4)
    turn = (difference[:, 0] + 0.5) % 1 - 0.5
    np.testing.assert_allclose(turn, turn[0], atol=1e-3)
    turns.append(turn[0])
  assert 0.17 < max(turns) <= 0.2 + 1e-3
  assert -0.17 > min(turns) >= -0.2 - 1e-3


def test_saturation_is_multiplied_up_to_its_bound():
  image = 0.6 + 0.2 * _image(size=4)
  draws = _draws(regularizers.color_jitter(0.0, 0.0, 0.5, 0.0), image, n=50)
  factors = []
  for draw in draws:
    hue, saturation, value = (_hsv(draw) / _hsv(image)).T
    np.testing.assert_allclose(hue, 1, atol=1e-2)
    np.testing.assert_allclose(value, 1, atol=1e-4)
    np.testing.assert_allclose(saturation, saturation[0], rtol=1e-3)
    factors.append(saturation[0])
  assert 0.5 - 1e-3 <= min(factors) < 0.56
  assert 1.44 < max(factors) <= 1.5 + 1e-3


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_label_smoothing_mixes_with_the_uniform_distribution(epsilon):
  one_hot = np.eye(5, dtype=np.float32)[[3, 0, 3]]
  got = regularizers.label_smoothing(epsilon).targets(jnp.asarray(one_hot))
  want = (1 - epsilon) * one_hot.astype(np.float64) + epsilon / 5
  np.testing.assert_allclose(got, want, atol=1e-7)
  np.testing.assert_allclose(np.sum(got, -1), 1, rtol=1e-6)


def test_dropout_sets_the_models_argument(config, sharding):
  assert regularizers.dropout(0.3).model == {"dropout_rate": 0.3}
  config.regularizers = ("dropout(0.3)",)
  static = compiled.static_arguments(settings.resolve(config), 10, sharding(1))
  assert static.model.dropout_rate == 0.3
