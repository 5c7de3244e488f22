"""Training and evaluation steps compile for TPUs that are not here."""

import importlib.util

import pytest

from benchmarks import tpu
from configs import base, imagenet

HBM = 16 * 2**30  # bytes of a v5e chip
pytestmark = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason="libtpu is not installed: pip install 'jax[tpu]'",
)


def _compile(config, name, devices, hosts):
  found = tpu.topology(name)
  assert len(found) == devices
  assert len({device.process_index for device in found}) == hosts
  figures = tpu.compile_steps(config, found)
  assert set(figures) == {"training", "evaluation"}
  for step in figures.values():
    assert 0 < sum(step["bytes"].values()) < HBM
    assert step["collectives"]["all-reduce"] > 0


def test_steps_of_an_mlp_compile_for_eight_chips():
  _compile(base.get_config(), "v5e:2x4", 8, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "devices", "hosts"), [("v5e:2x4", 8, 2), ("v5e:8x8", 64, 16)]
)
def test_steps_of_inception_v3_compile_for_a_slice(name, devices, hosts):
  _compile(imagenet.get_config(), name, devices, hosts)
