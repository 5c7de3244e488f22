import sys

import pytest

from rethink.cpu import allocator
from tests.conftest import python


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_freed_memory_is_not_mapped_again():
  code = """
import resource, numpy as np
from rethink.cpu import allocator
assert allocator.keep_freed_memory()
def faults():
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**25)  # 256 MiB, 65,536 pages
before = faults()
for _ in range(3):
  np.ones(2**25)
print(faults() - before < 1000)
"""
  assert python("-c", code).stdout == "True\n"


def test_another_c_library_is_left_alone(monkeypatch):
  monkeypatch.setattr(sys, "platform", "darwin")
  assert not allocator.keep_freed_memory()
