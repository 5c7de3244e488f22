import resource

import numpy as np
import psutil
import pytest

from rethink import errors
from rethink.kernels import (
  convolution,
  fitting,
  least_squares,
  memory,
  preconditioners,
)
from tests import kernels_oracle as oracle


def test_what_does_not_fit_is_refused_with_what_does():
  def need(n):
    return n**2 * 4

  memory.check(need, 1000, "this", available=4_000_000)
  with pytest.raises(errors.ConfigError) as caught:
    memory.check(need, 1001, "this", available=4_000_000)
  message = str(caught.value)
  assert "this with 1,001 points" in message
  assert "enough for 1,000 points" in message


@pytest.mark.parametrize("preconditioner", ["cholesky()", "nystrom(rank=40)"])
def test_memory_is_checked_before_any_tile_is_made(preconditioner, monkeypatch):
  points, targets = oracle.data(50, 5)
  monkeypatch.setattr(memory, "available_bytes", lambda: 5_000)

  def refuse(*args):
    raise AssertionError("allocated")

  monkeypatch.setattr(oracle.gram.PointGram, "fill", refuse)
  monkeypatch.setattr(oracle.gram.PointGram, "columns", refuse)
  with pytest.raises(errors.ConfigError, match=r"enough for [0-9]+ points"):
    oracle.solve("gaussian()", points, targets, preconditioner=preconditioner)


def test_primal_checks_memory(monkeypatch):
  monkeypatch.setattr(memory, "available_bytes", lambda: 100)
  with pytest.raises(errors.ConfigError, match="least squares in 5 features"):
    least_squares.solve(np.zeros((50, 5), np.float32), np.zeros((50, 2)))


@pytest.mark.parametrize(
  ("kernel", "filters", "needs"),
  [
    ("linear()", 4, "least squares in 33 features"),
    ("linear()", 40, "cholesky"),
    ("gaussian()", 40, "321 features"),
  ],
)
def test_memory_is_checked_before_random_features_are_made(
  kernel, filters, needs, monkeypatch
):
  images = np.random.default_rng(0).integers(0, 256, (50, 12, 12, 1), np.uint8)
  monkeypatch.setattr(memory, "available_bytes", lambda: 5_000)

  def refuse(*args):
    raise AssertionError("made")

  monkeypatch.setattr(convolution.Filters, "blocks", refuse)
  problem = fitting.Problem(
    images[:40],
    np.arange(40) % 3,
    images[40:],
    np.arange(10) % 3,
    3,
    kernel=kernel,
    steps=(f"random_convolution({filters})",),
  )
  with pytest.raises(errors.ConfigError, match=needs):
    fitting.interpolate(problem)


def test_predicted_bytes_of_a_factor():
  # Half of 60,000^2 numbers, the diagonal tiles' other halves, 32 tiles.
  single = preconditioners.cholesky_bytes(60_000, 1000, 4)
  assert single == pytest.approx(7.2e9 + 0.26e9, rel=0.03)
  double = preconditioners.cholesky_bytes(60_000, 1000, 8)
  assert double == pytest.approx(14.4e9 + 0.26e9, rel=0.03)


def test_a_limit_on_the_address_space_counts():
  soft, hard = resource.getrlimit(resource.RLIMIT_AS)
  plenty = memory.available_bytes()
  used = psutil.Process().memory_info().vms
  try:
    resource.setrlimit(resource.RLIMIT_AS, (used + 500_000_000, hard))
    assert memory.available_bytes() <= min(500_000_000, plenty)
  finally:
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize(
  ("mine", "folder", "limit", "use", "cached"),
  [
    (
      "0::/slurm/job_7/step_0",
      "slurm/job_7",  # the limit is above the process
      "memory.max",
      "memory.current",
      "inactive_file",
    ),
    (
      "9:name=systemd:/\n4:cpu,memory:/slurm/job_7",
      "memory/slurm/job_7",
      "memory.limit_in_bytes",
      "memory.usage_in_bytes",
      "total_inactive_file",
    ),
    ("0::/", "", "memory.max", "memory.current", "inactive_file"),
  ],
  ids=["version 2", "version 1", "container"],
)
def test_the_limit_of_a_control_group_counts(
  mine, folder, limit, use, cached, tmp_path, monkeypatch
):
  (tmp_path / "mine").write_text(mine + "\n")
  group = tmp_path / "groups" / folder
  (group / "step_0").mkdir(parents=True)
  monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "mine")
  monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
  (group / use).write_text("3000000\n")
  (group / "memory.stat").write_text(f"anon 5\n{cached} 2000000\nshmem 1\n")
  for text, wanted in (("5000000", 4_000_000), ("9", 0)):
    (group / limit).write_text(f"{text}\n")
    assert memory.available_bytes() == wanted
  (group / limit).write_text("max\n")
  assert memory.available_bytes() > 4_000_000


def test_the_peak_is_of_what_came_since():
  def spent(megabytes: int) -> float:
    memory.reset_peak()
    before = memory.peak_bytes()
    np.ones(megabytes * 125_000)
    return (memory.peak_bytes() - before) / 1e6

  assert spent(400) > 350
  assert spent(100) < 250  # the 400 are forgotten
