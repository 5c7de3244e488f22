"""One driver for splits on the devices and streamed ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import evaluate, metric_names, metrics, models
from rethink.methods import eval_splits
from rethink.pipeline import resident
from tests import conftest

N, BATCH = 50, 8  # 7 batches


def _identity(logits, labels):
  del labels
  return logits


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("chunk_seconds", [0.0, 1e9])
def test_a_streamed_split_is_evaluated_as_one_on_the_devices(
  chunk_seconds, devices, sharding
):
  examples, sharded = conftest.random_examples(N), sharding(devices)
  wrong = np.where(np.arange(N) % 2, examples.label, (examples.label + 3) % 10)
  examples = examples._replace(label=wrong.astype(np.int32))
  replicated = jax.sharding.NamedSharding(
    sharded.mesh, jax.sharding.PartitionSpec()
  )
  model = models.build(models.parse("mlp(widths=(16,))"), 10, {})
  params = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
  params = jax.device_put(params["params"], replicated)
  static = evaluate.Static(
    *(model, 10, 8, jnp.dtype("float32")),
    metrics=(metric_names.Metric("margin", "margin()", metrics.margin, ()),),
    each=(("margin", metrics.margin), ("logits", _identity)),
  )

  def batches():
    for start in range(0, N, BATCH):
      rows = np.arange(start, start + BATCH)
      batch = examples.take(np.where(rows < N, rows, 0))
      yield resident.put(batch, sharded), jax.device_put(rows < N, sharded)

  data, calls, found = resident.put(examples, replicated), [], []
  for split in (
    eval_splits.ResidentSplit(static, data, BATCH, sharded),
    eval_splits.StreamedSplit(static, batches(), N, BATCH, replicated),
  ):
    found.append(
      evaluate.evaluate(
        split,
        params,
        {},
        chunk_seconds=chunk_seconds,
        between=lambda: calls.append(1),
      )
    )
  assert len(calls) == (2 * 3 if chunk_seconds else 2 * 7)  # chunks of 1, 4, 2
  ours, theirs = found
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  for one, other in zip(
    jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True
  ):
    assert one.dtype == other.dtype and one.shape == other.shape
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
  for one in found:
    logits = np.float64(one.each["logits"])
    assert logits.shape == (N, 10)
    for label, sums in (
      (examples.label, one.sums.label),
      (examples.true_label, one.sums.true_label),
    ):
      others = logits.copy()
      others[np.arange(N), label] = -np.inf
      margin = logits[np.arange(N), label] - others.max(-1)
      np.testing.assert_allclose(sums["margin"], margin.sum(), rtol=1e-4)
      assert sums["accuracy"] == (margin > 0).sum()
    assert one.sums.clean_count == (examples.label == examples.true_label).sum()
