"""Saved states of other versions: leaves that were added or dropped since."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import errors
from rethink.storage import manifests
from tests.checkpoint_faults_test import open_all


def _state(**leaves):
  kernel = jnp.arange(6.0).reshape(2, 3)
  more = {"sums": {"loss": jnp.float32(2.5), **leaves}}
  return {"pair": (kernel, {"bias": kernel[0]}), "step": jnp.int32(7), **more}


def _saved(folder, state):
  saved = open_all(folder)
  saved.save(7, state)
  saved.close()


def _restored(folder, like, **changes):
  saved = open_all(folder)
  try:
    return saved.restore(like, manifests.Changes(**changes))
  finally:
    saved.close()


def _equal(got, want):
  assert jax.tree.structure(got) == jax.tree.structure(want)
  for one, other in zip(
    jax.tree.leaves(got), jax.tree.leaves(want), strict=True
  ):
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


def _zeros(state):
  return jax.tree.map(jnp.zeros_like, state)


def test_a_dropped_leaf_is_left_out(tmp_path):
  _saved(tmp_path, _state(top5=jnp.int32(3)))
  got = _restored(tmp_path, _zeros(_state()), dropped=("sums/top5",))
  _equal(got, _state())


def test_an_added_leaf_begins_as_in_a_new_run(tmp_path):
  _saved(tmp_path, _state())
  like = {**_zeros(_state(bad=jnp.int32(0)))}
  like["sums"]["bad"] = jnp.int32(-1)
  got = _restored(tmp_path, like, added=("sums/bad",))
  _equal(got, _state(bad=jnp.int32(-1)))


def test_both_at_once_and_neither_where_the_form_is_the_same(tmp_path):
  changes = {"added": ("sums/bad",), "dropped": ("sums/top5",)}
  old, new = _state(top5=jnp.int32(3)), _state(bad=jnp.int32(9))
  _saved(tmp_path / "old", old)
  _saved(tmp_path / "new", new)
  _equal(
    _restored(tmp_path / "old", _zeros(new), **changes),
    _state(bad=jnp.int32(0)),
  )
  _equal(_restored(tmp_path / "new", _zeros(new), **changes), new)


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({}, r"sums/bad: '\(no such field\)' -> 'int32\[\]'"),
    ({"added": ("sums/bad",)}, r"sums/top5: 'int32\[\]' -> '\(no such field"),
    ({"dropped": ("sums/top5",)}, "sums/bad: "),
    ({"added": ("sums/top5",), "dropped": ("sums/bad",)}, "sums/bad: "),
  ],
)
def test_what_is_not_declared_is_refused(tmp_path, changes, said):
  _saved(tmp_path, _state(top5=jnp.int32(3)))
  with pytest.raises(errors.ConfigError, match=said):
    _restored(tmp_path, _zeros(_state(bad=jnp.int32(0))), **changes)


def test_a_declared_leaf_of_another_shape_is_refused(tmp_path):
  _saved(tmp_path, _state(bad=jnp.zeros(2, jnp.int32)))
  with pytest.raises(errors.ConfigError, match=r"sums/bad: 'int32\[2\]'"):
    _restored(tmp_path, _state(bad=jnp.int32(0)), added=("sums/bad",))


def test_a_leaf_that_is_left_out_is_checked_like_the_others(
  tmp_path, monkeypatch
):
  _saved(tmp_path, _state(top5=jnp.int32(3)))
  read = manifests.read

  def spoilt(folder):
    manifest = read(folder)
    manifest["leaves"]["sums/top5"]["digest"] = "0" * 32
    return manifest

  monkeypatch.setattr(manifests, "read", spoilt)
  with pytest.raises(
    errors.CheckpointError, match="leaf sums/top5 has changed"
  ):
    _restored(tmp_path, _zeros(_state()), dropped=("sums/top5",))
