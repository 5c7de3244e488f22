"""Random bits as a pure function of (seed, tag, id), whatever the order.

SplitMix64 (Steele, Lea & Flood 2014) in plain integer arithmetic, so that no
version or setting of NumPy or JAX can change which examples are corrupted.
"""

import hashlib
import math

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd


def _mix(x: np.ndarray) -> np.ndarray:
  x = x + _GOLDEN
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))


def hash64(text: str) -> int:
  """Returns a 64-bit hash of a text: eight bytes of BLAKE2b."""
  digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
  return int.from_bytes(digest, "little")


def digest(data: bytes) -> str:
  """A 64-bit name of a file's content in hexadecimal: BLAKE2b."""
  return hashlib.blake2b(data, digest_size=8).hexdigest()


def bits(seed: int, tag: str, ids: np.ndarray, words: int = 1) -> np.ndarray:
  """Returns uint64[n, words] random words for uint64[n] ids.

  Args:
    seed: selects the stream, 0 <= seed < 2**64.
    tag: purpose of the words; streams with different tags are independent.
    ids: uint64[n]; row i depends on ids[i] alone, never on its neighbours.
    words: number of words per id.
  """
  # An array, not a scalar: uint64 overflow is silent only on arrays.
  stream = _mix(_mix(np.array([seed], np.uint64)) ^ np.uint64(hash64(tag)))
  start = _mix(stream ^ _mix(np.asarray(ids, np.uint64)))
  steps = np.arange(words, dtype=np.uint64) * _GOLDEN
  return _mix(start[:, None] + steps[None, :])


def uniform(words: np.ndarray) -> np.ndarray:
  """Maps uint64 words to float64 in [0, 1), using 53 bits of each."""
  return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def integers(words: np.ndarray, below: int) -> np.ndarray:
  """Maps uint64 words to int64 in [0, below), for below < 2**32."""
  scaled = (words >> np.uint64(32)) * np.uint64(below)
  return (scaled >> np.uint64(32)).astype(np.int64)


def permutation(words: np.ndarray) -> np.ndarray:
  """Turns each row of uint64 words into a permutation of its columns."""
  return np.argsort(words, axis=-1, kind="stable")


def rounded_normal(words: np.ndarray, mean: float, std: float) -> np.ndarray:
  """Maps uint32 words to normal numbers, rounded and clipped to uint8.

  Inverting the distribution by a table keeps noise free of log and cos, whose
  last bits differ between libraries.
  """
  edges = (np.arange(255) + 0.5 - mean) / max(std, 1e-9)
  below = [0.5 * math.erfc(-edge / math.sqrt(2)) for edge in edges]
  thresholds = np.round(np.array(below) * (2**32 - 1)).astype(np.uint32)
  # A word maps to the number of thresholds that are not above it.
  return np.searchsorted(thresholds, words, side="right").astype(np.uint8)
