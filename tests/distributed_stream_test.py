"""Runs of several processes that read from disk: each reads its share."""

import hashlib
import json

import numpy as np
import pytest

from configs import base
from rethink import settings
from rethink.pipeline import loader, stream_data
from rethink.storage import runs
from tests.distributed_test import _await_rows, _finish, _start, _train
from tests.faults_test import _STREAMED
from tests.method_train_test import end

_CONFIG = dict(
  train_examples=100,
  batch_size=32,
  num_epochs=2,
  drop_last=False,  # the last batch has 4
  eval_batch_size=64,
  image_size=12,
  pipeline="stream",
  corruptions=("random_labels()",),
  regularizers=("random_resized_crop()",),
)

# What each of two processes does in the test below it.
_PROBE = f"""
import hashlib, json, sys
import jax, numpy as np
from configs import base
from rethink import distributed, settings
from rethink.pipeline import loader, resident, stream_data
from tests import conftest  # two devices for each process

distributed.join(
  sys.argv[2].split("=")[1], 2, int(sys.argv[-1].split("=")[1]), 240, 30
)
config = base.get_config()
config.update({_CONFIG!r})
known = settings.resolve(config)
data = stream_data.open_data(known, sys.argv[1])
_, sharded = resident.shardings()
out = {{"train": [], "test": []}}
for name, batches in (
  ("train", stream_data.training(data, known)),
  ("test", stream_data.clean(data, "test", known)),
):
  batches = list(loader.iterate(batches))
  placed = loader.to_devices(batches, sharded)
  for batch, (whole, mask) in zip(batches, placed):
    images = distributed.all_gather_arrays(whole.image)
    out[name].append({{
      "ids": batch.examples.id[batch.mask].tolist(),
      "labels": distributed.all_gather_arrays(whole.label).tolist(),
      "counted": int(distributed.all_gather_arrays(mask).sum()),
      "images": hashlib.sha256(images.tobytes()).hexdigest(),
      "shards": [s.data.shape[0] for s in whole.image.addressable_shards],
    }})
print("out:" + json.dumps(out), file=sys.stderr)
distributed.leave(0)
"""


def test_two_processes_share_the_batches_that_one_reads(data_dir):
  said = _finish(_start(2, "-c", _PROBE, data_dir), 0, 0)
  one, two = (
    json.loads(text.partition("out:")[2].split("\n")[0]) for text in said
  )
  config = base.get_config()
  config.update(_CONFIG)
  known = settings.resolve(config)
  data = stream_data.open_data(known, data_dir)
  for name, batches in (
    ("train", stream_data.training(data, known)),
    ("test", stream_data.clean(data, "test", known)),
  ):
    seen = []
    ours = loader.iterate(batches)
    for batch, a, b in zip(ours, one[name], two[name], strict=True):
      assert a["ids"] + b["ids"] == batch.examples.id[batch.mask].tolist()
      for out in (a, b):
        assert out["labels"] == batch.examples.label.tolist()
        images = np.ascontiguousarray(batch.examples.image)
        assert out["images"] == hashlib.sha256(images.tobytes()).hexdigest()
        assert out["counted"] == batch.mask.sum()
        assert out["shards"] == [len(batch.mask) // 4] * 2
      seen += a["ids"] + b["ids"]
    if name == "test":
      assert sorted(seen) == data.known.test.id.tolist()
    else:
      assert sorted(seen) == sorted(2 * data.known.train.id.tolist())


@pytest.mark.slow
def test_two_processes_that_stream_train_like_one_and_resume(
  tmp_path, data_dir
):
  one, two = tmp_path / "one", tmp_path / "two"
  _finish(_train(one, data_dir, *_STREAMED, count=1), 0)
  _finish(_train(two, data_dir, *_STREAMED), 0, 0)
  assert runs.read(two).status["processes"] == 2
  for a, b in zip(runs.read(one).rows, runs.read(two).rows, strict=True):
    if a["epoch"] > 10:  # rounding grows
      break
    for key in ("train/loss", "test/loss", "batch/loss"):
      assert a[key] == pytest.approx(b[key], rel=1e-4), key

  broken = tmp_path / "broken"
  processes = _train(broken, data_dir, *_STREAMED)
  _await_rows(broken, 5, processes)
  processes[1].kill()
  processes[0].communicate(timeout=150)  # heartbeats end after 30 s
  assert processes[0].returncode not in (0, 75)
  processes[1].communicate()
  first, _ = _finish(_train(broken, data_dir, *_STREAMED), 0, 0)
  assert "resuming at step" in first
  assert end(broken) == end(two)
