"""Saved states that were damaged: docs/reliability.md, F6 to F10."""

import json
import os
import pathlib
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import errors
from rethink.storage import checkpoints, manifests, schema

IDENTITY = {"config": "c0", "data": "d0", "commit": "abc"}
# A file of each kind that a step consists of.
_KINDS = (
  "_METADATA",
  "_CHECKPOINT_METADATA",
  "_sharding",
  "manifest.ocdbt",
  "ocdbt.process_0/manifest.ocdbt",
  "ocdbt.process_0/d/*",
  "d/*",
  "array_metadatas/*",
  "manifest.json",
)


def state(step: int, dtype=jnp.float32):
  """A small state in which every leaf depends on the step."""
  return {
    "params": {"kernel": jnp.arange(2048, dtype=dtype).reshape(32, 64) + step},
    "half": jnp.full((100,), step, jnp.bfloat16),
    "step": jnp.int32(step),
  }


def open_all(workdir, keep=3, **identity: str) -> checkpoints.Checkpoints:
  return checkpoints.Checkpoints(workdir, keep, {**IDENTITY, **identity})


def save(workdir, *steps: int, keep=3) -> None:
  saved = open_all(workdir, keep)
  saved.restore(state(0))
  for step in steps:
    saved.save(step, state(step))
  saved.close()


def restored(workdir, **identity: str) -> int | None:
  """The step that is taken up, having checked every bit of it."""
  saved = open_all(workdir, **identity)
  got = saved.restore(state(0))
  saved.close()
  if got is None:
    return None
  for a, b in zip(
    jax.tree.leaves(got), jax.tree.leaves(state(int(got["step"]))), strict=True
  ):
    assert a.dtype == b.dtype
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
  assert saved.saved_step == int(got["step"])
  return int(got["step"])


def flip(path: pathlib.Path, draw: random.Random) -> None:
  data = bytearray(path.read_bytes())
  data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
  path.write_bytes(data)


@pytest.fixture
def workdir(tmp_path):
  save(tmp_path, 10, 20)
  return tmp_path


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
  folder = tmp_path_factory.mktemp("pristine")
  save(folder, 10, 20)
  return folder


@pytest.mark.parametrize("damage", ["empty", "half", "no_manifest", "tmp"])
def test_f6_an_unfinished_step_is_never_the_latest(workdir, capsys, damage):
  folder = workdir / "checkpoints"
  if damage == "empty":
    (folder / "999").mkdir()
  elif damage == "half":
    shutil.copytree(folder / "20", folder / "999")
    for path in sorted((folder / "999").rglob("*"))[::2]:
      if path.is_file():
        path.unlink()
    (folder / "999/manifest.json").unlink(missing_ok=True)
  elif damage == "no_manifest":
    shutil.copytree(folder / "20", folder / "999")
    (folder / "999/manifest.json").unlink()
  else:
    shutil.copytree(folder / "20", folder / "999.orbax-checkpoint-tmp-3")
  assert restored(workdir) == 20
  assert sorted(os.listdir(folder)) == ["10", "20"]
  assert ("999: removed" in capsys.readouterr().out) == (damage != "tmp")


def test_f6_a_step_copied_under_another_number_is_set_aside(workdir, capsys):
  shutil.copytree(workdir / "checkpoints/20", workdir / "checkpoints/999")
  assert restored(workdir) == 20
  assert "999/manifest.json is not what was written" in capsys.readouterr().err
  assert os.listdir(workdir / "damaged") == ["checkpoints-999.1"]


def test_f7_a_truncated_array_file_is_named_and_the_older_step_used(
  workdir, capsys
):
  files = [p for p in (workdir / "checkpoints/20").rglob("*") if p.is_file()]
  largest = max(files, key=lambda p: p.stat().st_size)
  os.truncate(largest, largest.stat().st_size // 2)
  assert restored(workdir) == 10
  warning = capsys.readouterr().err
  assert warning.startswith("rethink: warning: ")
  assert str(largest) in warning and "damaged/checkpoints-20.1" in warning
  assert (workdir / "damaged/checkpoints-20.1/manifest.json").exists()
  save(workdir, 20)  # the place is free again
  assert restored(workdir) == 20


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
@pytest.mark.parametrize("kind", _KINDS)
def test_f9_any_damaged_file_is_named(tmp_path, pristine, capsys, kind, damage):
  shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
  path = max(
    (tmp_path / "checkpoints/20").glob(kind), key=lambda p: p.stat().st_size
  )
  if damage == "truncate":
    os.truncate(path, path.stat().st_size // 2)
  elif damage == "flip":
    flip(path, random.Random(0))
  else:
    path.unlink()
  assert restored(tmp_path) == 10
  said = "".join(capsys.readouterr())
  unfinished = kind == "manifest.json" and damage == "delete"
  assert ("20: removed" if unfinished else str(path)) in said


def test_f9_a_deleted_folder_is_noticed(workdir):
  shutil.rmtree(workdir / "checkpoints/20/ocdbt.process_0")
  assert restored(workdir) == 10


def _flips(pristine, workdir, rounds: int, by_leaf: bool) -> tuple[int, int]:
  """Flips bits of array data; returns (detected, harmless)."""
  draw, counts = random.Random(0), {10: 0, 20: 0}
  for i in range(rounds):
    copy = workdir / str(i)
    shutil.copytree(pristine, copy)
    newest = copy / "checkpoints/20"
    if by_leaf:  # Orbax gets to see the damage: its result is what is checked
      manifest = json.loads((newest / manifests.NAME).read_text())
      del manifest["digest"]
      manifest["files"] = {}
      manifest["digest"] = schema.own_digest(manifest)
      (newest / manifests.NAME).write_text(json.dumps(manifest))
    files = sorted(p for p in newest.rglob("d/*") if p.is_file())
    weights = [p.stat().st_size for p in files]
    flip(draw.choices(files, weights)[0], draw)
    step = restored(copy)  # which compares every bit
    assert step is not None
    counts[step] += 1
  return counts[10], counts[20]


@pytest.mark.parametrize("by_leaf", [False, True])
def test_f8_eight_flipped_bits_are_detected(pristine, tmp_path, by_leaf):
  detected, harmless = _flips(pristine, tmp_path, 8, by_leaf)
  assert detected + harmless == 8
  assert detected >= (1 if by_leaf else 8)


@pytest.mark.slow
@pytest.mark.parametrize("by_leaf", [False, True])
def test_f8_sixty_flipped_bits_are_detected(pristine, tmp_path, by_leaf):
  detected, harmless = _flips(pristine, tmp_path, 60, by_leaf)
  assert detected + harmless == 60
  assert detected >= (30 if by_leaf else 60)
  print(f"by_leaf={by_leaf}: {detected} detected, {harmless} without effect")


def test_f10_a_run_whose_states_are_all_damaged_refuses(workdir, capsys):
  for step in ("10", "20"):
    (workdir / f"checkpoints/{step}/_METADATA").write_text("{")
  for _ in range(2):  # also when asked again
    with pytest.raises(errors.CheckpointError) as caught:
      restored(workdir)
    for step in ("10", "20"):
      assert f"{step}/_METADATA is not what was written" in str(caught.value)
    assert "--restart_from_scratch" in str(caught.value)
  assert caught.value.exit_code == 4
  checkpoints.restart(workdir)
  assert restored(workdir) is None
  assert len(os.listdir(workdir / "damaged")) == 2


def test_f10_missing_manifests_are_no_reason_to_start_over(workdir):
  for path in workdir.glob("checkpoints/*/manifest.json"):
    path.unlink()
  with pytest.raises(errors.CheckpointError, match="20 has no manifest"):
    restored(workdir)
  assert len(os.listdir(workdir / "checkpoints")) == 2
