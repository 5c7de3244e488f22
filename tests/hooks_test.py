"""Mixed batches and changed gradients, beside NumPy and float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rethink import hooks, regularizers

A = np.float64([[3, 1, 0], [1, 2, 0.5], [0, 0.5, 1]])
W = np.float64([1, -2, 0.5])


def _batch(n=6, size=8):
  rng = np.random.default_rng(0)
  images = rng.normal(size=(n, size, size, 2)).astype(np.float32)
  return images, np.eye(4, dtype=np.float32)[rng.integers(0, 4, n)]


@functools.cache
def _mixer(make):
  """A regularizer on a batch, once for each key; alpha is an input."""
  images, targets = map(jnp.asarray, _batch())

  def act(alpha, key):
    return make(alpha).batch(key, images, targets)

  return jax.jit(jax.vmap(act, (None, 0)))


def _draws(make, alpha):
  keys = jax.random.split(jax.random.key(0), 300)
  return *_batch(), *map(np.asarray, _mixer(make)(alpha, keys))


def _partners(images, mixed, kept):
  """The partner of each image of a batch, and how well it explains it."""
  rest = mixed - kept * images
  guess = (1 - kept) * images
  distance = np.abs(rest[:, None] - guess[None]).max((2, 3, 4))
  return distance.argmin(1), distance.min(1)


def test_mixup_adds_a_partner_by_one_weight_of_the_beta_distribution():
  alpha = 0.4
  images, targets, mixed, soft = _draws(regularizers.mixup, alpha)
  weights = []
  for one, target in zip(mixed, soft, strict=True):
    # Of the mixtures of all pairs only the true one explains a whole image.
    base = images.reshape(len(images), -1).astype(np.float64)
    row = one.reshape(len(one), -1)
    found = [
      (np.abs(row[0] - (w * base[0] + (1 - w) * base[j])).max(), w, j)
      for j in range(1, len(base))
      for w in [
        np.dot(row[0] - base[j], base[0] - base[j])
        / np.dot(base[0] - base[j], base[0] - base[j])
      ]
    ]
    error, w, _ = min(found)
    if error > 1e-5 or min(w, 1 - w) < 1e-3:
      continue  # the first image is its own partner, or is hardly mixed
    partner, distance = _partners(images, one, np.float32(w))
    assert sorted(partner) == list(range(len(images)))
    assert distance.max() < 1e-5
    want = w * targets + (1 - w) * targets[partner]
    np.testing.assert_allclose(target, want, atol=1e-5)
    weights.append(w)
  assert len(weights) > 150
  np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-5)


_weights = jax.jit(
  jax.vmap(lambda a, key: hooks.mixing_weight(key, a), (None, 0))
)


@pytest.mark.parametrize("alpha", [0.2, 5.0])
def test_mixing_weights_have_the_moments_of_the_beta_distribution(alpha):
  keys, n = jax.random.split(jax.random.key(1), 4000), 4000
  draws = _weights(alpha, keys)
  variance = 1 / (4 * (2 * alpha + 1))
  assert abs(draws.mean() - 0.5) < 5 * np.sqrt(variance / n)
  assert abs(draws.var() - variance) < 0.1 * variance


def test_cutmix_pastes_one_box_and_mixes_targets_by_its_area():
  images, targets, mixed, soft = _draws(regularizers.cutmix, 1.0)
  areas = []
  for one, target in zip(mixed, soft, strict=True):
    changed = (one != images).any(-1)  # of images that are not their partner
    box = changed.any(0)
    area = box.mean()
    rows, columns = np.nonzero(box.any(1))[0], np.nonzero(box.any(0))[0]
    if not len(rows):
      np.testing.assert_array_equal(one, images)
      continue
    assert box.sum() == len(rows) * len(columns)
    assert np.ptp(rows) + 1 == len(rows) and np.ptp(columns) + 1 == len(columns)
    pasted = one[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    own = images[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    equal = (pasted[:, None] == own[None]).all((2, 3, 4))
    partner = equal.argmax(1)
    assert equal.any(1).all() and sorted(partner) == list(range(len(images)))
    want = (1 - area) * targets + area * targets[partner]
    np.testing.assert_allclose(target, want, atol=1e-6)
    areas.append(area)
  # Sides of 8 pixels: the longest below 8 is 7, of which 3 lie either side.
  assert len(areas) > 200 and min(areas) < 0.1 and max(areas) == 6 * 6 / 64


@pytest.mark.parametrize("make", [regularizers.mixup, regularizers.cutmix])
def test_an_alpha_of_zero_changes_no_bit(make):
  images, targets, mixed, soft = _draws(make, 0.0)
  for one, other in zip(mixed, soft, strict=True):
    np.testing.assert_array_equal(one, images)
    np.testing.assert_array_equal(other, targets)


def test_a_batch_is_mixed_alike_with_the_same_key_only():
  mix, key = _mixer(regularizers.mixup), jax.random.split
  one, same, other = (mix(1.0, key(jax.random.key(i), 300)) for i in (0, 0, 1))
  np.testing.assert_array_equal(one[0], same[0])
  assert (one[0] != other[0]).any()


def test_hooks_have_keys_of_their_own():
  seen, key = [], jax.random.key(3)

  def batch(key, images, targets):
    seen.append(key)
    return images, targets

  def gradient(gradients, params, key, step):
    seen.append(key)
    return gradients(params)

  both = [hooks.Regularizer(batch=batch, gradient=gradient)] * 2
  hooks.apply_batch(both, key, *_batch())
  hooks.wrap_gradients(both, key, jnp.int32(0), lambda p: (p, ()))({})
  data = [*seen, key, *jax.random.split(key), jax.random.fold_in(key, 0)]
  bits = {tuple(jax.random.key_data(k).tolist()) for k in data[:-1]}
  assert len(seen) == 4 and len(bits) == 7


@pytest.fixture
def x64():
  with jax.enable_x64(True):
    yield


def _quadratic(params):
  """w^T A w / 2 + b^2, and what it saw."""
  w, b = params["w"], params["b"]
  return 0.5 * w @ jnp.asarray(A) @ w + jnp.sum(b**2), w


def _gradient(regularizer_list, step=0, key=None):
  params = {"w": jnp.asarray(W), "b": jnp.asarray([0.5])}
  gradients = hooks.wrap_gradients(
    regularizer_list,
    jax.random.key(0) if key is None else key,
    jnp.int32(step),
    jax.grad(_quadratic, has_aux=True),
  )
  found, seen = gradients(params)
  return np.concatenate([found["w"], found["b"]]), np.asarray(seen)


def _want(rho):
  plain = np.concatenate([A @ W, [1.0]])
  move = rho * plain / np.linalg.norm(plain)
  return np.concatenate([A @ (W + move[:3]), 2 * (0.5 + move[3:])])


@pytest.mark.parametrize("rho", [0.0, 0.05, 2.0])
def test_sam_is_the_gradient_at_the_top_of_the_linear_ball(rho, x64):
  got, seen = _gradient([regularizers.sam(rho)])
  assert got.dtype == np.float64
  np.testing.assert_allclose(got, _want(rho), rtol=1e-12)
  np.testing.assert_array_equal(seen, W)  # aux of the unperturbed pass


def test_sam_at_a_minimum_is_no_division_by_zero(x64):
  flat = lambda params: ({"w": jnp.zeros(3)}, ())  # noqa: E731
  got, _ = hooks.sam(flat, {"w": jnp.asarray(W)}, 0.1)
  np.testing.assert_array_equal(got["w"], 0)


@pytest.mark.parametrize("max_norm", [0.0, 0.1, 3.0, 100.0])
def test_clipping_is_that_of_optax(max_norm, x64):
  got, _ = _gradient([regularizers.gradient_clipping(max_norm)])
  plain = np.concatenate([A @ W, [1.0]])
  want = plain * min(1.0, max_norm / np.linalg.norm(plain))
  np.testing.assert_allclose(got, want, rtol=1e-12)
  clip = optax.clip_by_global_norm(max_norm)
  tree = {"w": jnp.asarray(A @ W), "b": jnp.asarray([1.0])}
  theirs, _ = clip.update(tree, clip.init(tree))
  np.testing.assert_allclose(
    got, np.concatenate([theirs["w"], theirs["b"]]), rtol=1e-12
  )


def test_the_first_gradient_hook_is_the_innermost(x64):
  sam, clip = regularizers.sam(1.0), regularizers.gradient_clipping(0.1)
  after, _ = _gradient([sam, clip])
  want = _want(1.0)
  np.testing.assert_allclose(after, 0.1 * want / np.linalg.norm(want))
  before, _ = _gradient([clip, sam])
  np.testing.assert_allclose(before, after)  # its ascent keeps its direction
  noise = regularizers.gradient_noise(1.0)
  assert np.linalg.norm(_gradient([noise, clip])[0]) == pytest.approx(0.1)
  assert np.linalg.norm(_gradient([clip, noise])[0]) > 0.2


@pytest.mark.parametrize("step", [0, 9, 99])
def test_gradient_noise_has_the_variance_of_its_step(step):
  hook = regularizers.gradient_noise(scale=0.3, gamma=0.55).gradient
  zeros = {"w": jnp.zeros((40, 50)), "v": jnp.zeros(2000)}

  def noise(seed):
    key = jax.random.key(seed)
    return hook(lambda p: (p, ()), zeros, key, jnp.int32(step))[0]

  got = noise(0)
  w, v = np.asarray(got["w"]).ravel(), np.asarray(got["v"])
  variance = 0.3 / (1 + step) ** 0.55
  for draw in (w, v):
    assert abs(draw.mean()) < 5 * np.sqrt(variance / 2000)
    assert abs(draw.var() / variance - 1) < 5 * np.sqrt(2 / 2000)
  assert abs(np.corrcoef(w, v)[0, 1]) < 5 / np.sqrt(2000)
  assert (np.asarray(noise(0)["w"]).ravel() == w).all()
  assert (np.asarray(noise(1)["w"]).ravel() != w).any()
