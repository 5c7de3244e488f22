"""Strict settings for every test, and a small prepared data set."""

import os
import pathlib
import subprocess
import sys
import tempfile

# Before JAX is imported: two devices, so that sharding is never vacuous.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
import pytest
from absl import flags

from configs import base
from rethink import example
from rethink.prepare import digits, writer

jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests start the same few runs again and again: most of their time would be
# compilation. A folder for each worker, as JAX's writes are not atomic.
_PROGRAMS = tempfile.TemporaryDirectory(prefix="rethink-programs-")
ROOT = pathlib.Path(__file__).resolve().parent.parent
# Genuine files that no repository should hold; a test skips without them.
SHARED = pathlib.Path(os.environ.get("RETHINK_SHARED", ROOT.parent / "shared"))


def pytest_collection_modifyitems(items):
  """The longest test first, so that no worker is left alone with it."""
  items.sort(key=lambda item: "readme_test" not in item.nodeid)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
  """A data_dir that holds the digits; one per test process."""
  folder = str(tmp_path_factory.mktemp("data"))
  writer.write("digits", digits.source(), folder)
  return folder


@pytest.fixture(scope="session")
def mixed(tmp_path_factory) -> str:
  """A data_dir that holds `mixed`: 12 and 12 photos of several sizes."""
  from rethink.prepare import folder
  from tests import photos

  root = tmp_path_factory.mktemp("mixed")
  photos.tree(root / "images")
  folder.prepare("mixed", str(root / "images"), str(root), skip_damaged=False)
  return str(root)


@pytest.fixture(scope="session")
def fashion_mnist() -> pathlib.Path:
  """The folder of the four official archives of Fashion-MNIST."""
  folder = SHARED / "data" / "fashion-mnist"
  if not folder.is_dir():
    pytest.skip(f"{folder} is not there; $RETHINK_SHARED names another parent")
  return folder


@pytest.fixture(scope="session")
def no_tensorflow(tmp_path_factory) -> dict[str, str]:
  """An environment in which TensorFlow and every socket fail."""
  root = tmp_path_factory.mktemp("no_tensorflow")
  (root / "tensorflow").mkdir()
  (root / "tensorflow" / "__init__.py").write_text("raise ImportError('none')")
  (root / "sitecustomize.py").write_text(
    "import socket\n"
    "def refuse(*args, **kwargs): raise AssertionError('the network is used')\n"
    "socket.socket.__init__ = socket.getaddrinfo = refuse\n"
  )
  return {"PYTHONPATH": str(root)}


@pytest.fixture
def config():
  """A run of a second: 320 digits, a small MLP, three epochs."""
  config = base.get_config()
  config.image_size = 8  # for tests that load no data
  config.train_examples = 320
  config.model = "mlp(widths=(32,))"
  config.batch_size = 50  # leaves a last batch of 20
  config.num_epochs = 3
  config.learning_rate = 0.05
  config.bookkeeping.tensorboard = False
  config.lock()
  return config


@pytest.fixture
def parsed_flags():
  """Grain's workers ask for absl's flags, which an entry point parses."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


@pytest.fixture
def sharding():
  """Batches sharded over this many of the two devices: sharding(1), (2)."""

  def make(devices: int) -> jax.sharding.NamedSharding:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("data",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

  return make


def random_examples(n: int, shape=(8, 8, 3), classes=10) -> example.Example:
  """Examples of noise with ids that look like hashes."""
  rng = np.random.default_rng(0)
  ids = rng.integers(0, 2**64, n, dtype=np.uint64)
  label = rng.integers(0, classes, n).astype(np.int32)
  image = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
  return example.Example(ids, image, label, label.copy())


def random_info(shape=(8, 8, 3), classes=10) -> example.DatasetInfo:
  """Returns the facts of `random_examples`."""
  channels = shape[-1]
  return example.DatasetInfo(
    name="noise",
    version="1.0.0",
    splits={"train": 100, "test": 50},
    class_names=tuple(str(c) for c in range(classes)),
    shape=shape,
    mean=(120.0, 110.0, 130.0)[:channels],
    std=(60.0, 50.0, 40.0)[:channels],
    fingerprint="0" * 32,
  )


def python(*args: str, timeout: float = 300, **env: str):
  """Runs `python args` at the root as a user would; returns what it said."""
  return subprocess.run(
    [sys.executable, *args],
    cwd=ROOT,
    env={**clean_environment(), **env},
    capture_output=True,
    text=True,
    timeout=timeout,
  )


def clean_environment() -> dict[str, str]:
  """The environment without what this file has put into it.

  Compiled programs are kept for the next process of this test session.
  """
  return {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {
    "JAX_COMPILATION_CACHE_DIR": _PROGRAMS.name,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
  }
