import hashlib
import itertools

import numpy as np
import pytest

from rethink import bits

_MASK = 2**64 - 1
_IDS = np.arange(1, 2001, dtype=np.uint64) * np.uint64(0xDA942042E4DD58B5)
_GOLDEN = "fff50b08c07ee5f281fb69107bce421a31dcae149f31f7a1d95425eb0ac84d36"


def _splitmix64(state):
  while True:
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    yield z ^ (z >> 31)


def _expected(seed, tag, name, words):
  stream = next(_splitmix64(next(_splitmix64(seed)) ^ bits.hash64(tag)))
  start = next(_splitmix64(stream ^ next(_splitmix64(name))))
  return list(itertools.islice(_splitmix64(start), words))


def _chi2(values, classes):
  counts = np.bincount(values, minlength=classes)
  expected = len(values) / classes
  return ((counts - expected) ** 2 / expected).sum()


def test_the_oracle_is_the_published_splitmix64():
  assert list(itertools.islice(_splitmix64(1234567), 3)) == [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
  ]


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("tag", ["", "label/coin"])
def test_bits_are_splitmix64_in_python_integers(seed, tag):
  ids = [0, 1, 2**63, 2**64 - 1]
  got = bits.bits(seed, tag, np.array(ids, np.uint64), 3)
  assert got.tolist() == [_expected(seed, tag, name, 3) for name in ids]


def test_golden_bits():
  words = bits.bits(7, "golden", _IDS[:100], 5)
  assert hashlib.sha256(words.astype("<u8").tobytes()).hexdigest() == _GOLDEN


def test_a_hash_is_blake2b_little_endian():
  # From `printf digit_0001 | b2sum --length=64`.
  assert bits.hash64("digit_0001").to_bytes(8, "little").hex() == (
    "9647826b94c5caf8"
  )


def test_a_row_depends_on_its_id_alone():
  whole = bits.bits(3, "tag", _IDS, 4)
  order = np.argsort(_IDS % np.uint64(1009), kind="stable")
  np.testing.assert_array_equal(
    bits.bits(3, "tag", _IDS[order], 4), whole[order]
  )
  for size in (1, 7, 999):
    parts = [
      bits.bits(3, "tag", _IDS[start : start + size], 4)
      for start in range(0, len(_IDS), size)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_more_words_keep_the_first_ones():
  np.testing.assert_array_equal(
    bits.bits(3, "tag", _IDS, 9)[:, :4], bits.bits(3, "tag", _IDS, 4)
  )


def test_all_words_of_all_streams_differ():
  streams = [
    bits.bits(seed, tag, _IDS, 4)
    for seed in (0, 1, 2)
    for tag in ("a", "b", "ab")
  ]
  words = np.concatenate(streams)
  assert len(np.unique(words)) == words.size


def test_streams_are_uncorrelated():
  names = np.arange(20_000, dtype=np.uint64)
  columns = [
    bits.uniform(bits.bits(seed, tag, names)[:, 0])
    for seed in (0, 1)
    for tag in ("label/coin", "label/class")
  ]
  columns.append(np.roll(columns[0], 1))
  correlation = np.corrcoef(columns) - np.eye(len(columns))
  assert np.abs(correlation).max() < 4 / np.sqrt(len(names))


def test_uniform_is_in_the_half_open_interval():
  extremes = np.array([0, 2**64 - 1], np.uint64)
  low, high = bits.uniform(extremes)
  assert low == 0 and 1 - 2.0**-53 == high < 1


def test_uniform_is_uniform():
  values = bits.uniform(bits.bits(0, "uniform", _IDS, 50)).ravel()
  sigma = 1 / np.sqrt(12 * len(values))
  assert abs(values.mean() - 0.5) < 3 * sigma
  assert _chi2((values * 100).astype(int), 100) < 99 + 4 * np.sqrt(2 * 99)


@pytest.mark.parametrize("below", [1, 2, 10, 1000])
def test_integers_are_uniform_and_below(below):
  values = bits.integers(bits.bits(0, "integers", _IDS, 50), below).ravel()
  assert values.min() >= 0 and values.max() < below
  free = below - 1
  assert _chi2(values, below) <= free + 4 * np.sqrt(2 * free)


def test_integers_reach_the_bounds():
  extremes = np.array([0, 2**64 - 1], np.uint64)
  for below in (1, 10, 2**32 - 1):
    assert bits.integers(extremes, below).tolist() == [0, below - 1]


def test_permutations_are_permutations():
  order = bits.permutation(bits.bits(0, "order", _IDS, 31))
  assert (np.sort(order, axis=-1) == np.arange(31)).all()
  assert len(np.unique(order, axis=0)) == len(_IDS)


def test_every_place_is_equally_likely_in_a_permutation():
  order = bits.permutation(bits.bits(0, "places", _IDS, 8))
  for column in order.T:
    assert _chi2(column, 8) < 7 + 4 * np.sqrt(2 * 7)


def test_equal_words_keep_their_order():
  assert bits.permutation(np.zeros((1, 40), np.uint64)).tolist() == [
    list(range(40))
  ]
