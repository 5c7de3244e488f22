"""A run on the stream path: the same data as in memory, and exact resuming."""

import contextlib
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import (
  compiled,
  errors,
  metrics,
  schedules,
  settings,
  train_step,
)
from rethink.methods import data_passes, runner
from rethink.pipeline import (
  crops,
  decoding,
  index,
  loader,
  resident,
  run_data,
  stream_data,
  stream_labels,
)
from rethink.storage import files, runs
from tests.method_train_test import StopAfter, end

_CORRUPTIONS = (
  (),
  ("partially_corrupted_labels(0.4)",),
  ("shuffled_pixels()",),
  ("random_pixels(after_crop=False)", "random_labels()"),
  ("gaussian()",),
  ("class_dependent_labels({3: 5, 5: 3}, 0.5)", "gaussian()"),
  ("permuted_labels(0.7)",),
  ("random_pixels(after_crop=False)", "instance_dependent_labels(0.4)"),
)


@pytest.fixture
def stored(config):
  """`config` on the stream path, images as they are stored."""
  config.pipeline = "stream"
  config.central_fraction = 0.0
  return config


@pytest.fixture
def noisy(config):
  """Photos; a config that draws from every stream, with a short last batch."""
  config.dataset = "mixed"
  config.test_split = "validation"
  config.pipeline = "stream"
  config.normalize = "symmetric"
  config.train_examples = 0
  config.image_size = 16
  config.batch_size = 5
  config.eval_batch_size = 14
  config.corruptions = ("partially_corrupted_labels(0.7)",)
  config.regularizers = ("random_resized_crop()", "dropout(0.2)")
  config.bookkeeping.chunk_seconds = 1e-9  # one step a chunk
  config.bookkeeping.stream_threads = 2
  return config


def _execute(config, workdir, data_dir, stop=None):
  return runner.execute(config, str(workdir), data_dir, stop or StopAfter())


def _passes(config, workdir, data_dir):
  """(passes over the data of a run, static, inputs, initial state)."""
  known = settings.resolve(config)
  run = runs.Run(str(workdir), known.outcome, known.bookkeeping)
  replicated, sharded = resident.shardings()
  found = data_passes.open_data(
    known, run, data_dir, replicated, sharded, lambda: False
  )
  info = found.known.info
  static = compiled.static_arguments(known, info.num_classes, sharded)
  length = schedules.Length(jnp.int32(found.steps_per_epoch), jnp.int32(100))
  keys = compiled.keys(config.seed)
  inputs = compiled.traced_arguments(known, length, keys.noise)
  create = train_step.compile_initializer(static, info.shape[-1], replicated)
  return found, static, inputs, create(inputs, keys.init)


@pytest.mark.parametrize("corrupt", _CORRUPTIONS, ids=str)
def test_what_is_known_at_the_start_is_what_batches_hold(
  corrupt, stored, data_dir
):
  stored.corruptions = corrupt
  known = settings.resolve(stored)
  data = stream_data.open_data(known, data_dir)
  with stored.unlocked():
    stored.pipeline = "resident"
  loaded = run_data.load(settings.resolve(stored), data_dir)
  assert bool(loaded.report["changed_fraction"]) == ("labels" in str(corrupt))
  for of in ("train", "test"):
    ours, theirs = getattr(data.known, of), getattr(loaded, of)
    for field in ("id", "label", "true_label"):
      np.testing.assert_array_equal(
        getattr(ours, field), getattr(theirs, field)
      )
  for field in ("changed_fraction", "test_changed_fraction"):
    assert data.known.report[field] == loaded.report[field]
  by_id = {i: k for k, i in enumerate(loaded.train.id)}
  seen = []
  for batch in loader.iterate(stream_data.training(data, known)):
    rows = [by_id[i] for i in batch.examples.id]
    seen += rows
    for one, other in zip(
      batch.examples, loaded.train.take(np.array(rows)), strict=True
    ):
      np.testing.assert_array_equal(one, other)
  assert sorted(seen) == sorted(3 * list(range(320)))  # three epochs
  for report in data.known.report["corruptions"]:
    assert report.keys() <= {"corruption", "probability"}  # not of pixels


def _logits(logits, labels):
  del labels
  return logits


def _inverted(ids, images, context):
  del ids, context
  return 255 - images


def _dark_is_zero(ids, labels, images, context, below: float = 180.0):
  del ids, context
  return np.where(images.mean((1, 2, 3)) < below, 0, labels).astype(np.int32)


def test_labels_of_ones_own_that_ask_for_images_are_equal_on_both_paths(
  stored, data_dir
):
  stored.corruptions = (f"{__name__}:_inverted", f"{__name__}:_dark_is_zero()")
  streamed = stream_data.open_data(settings.resolve(stored), data_dir).known
  with stored.unlocked():
    stored.pipeline = "resident"
  resident = run_data.load(settings.resolve(stored), data_dir)
  for split in ("train", "test"):
    one, other = getattr(streamed, split), getattr(resident, split)
    np.testing.assert_array_equal(one.id, other.id)
    np.testing.assert_array_equal(one.label, other.label)
  assert 0 < resident.report["changed_fraction"] < 1


def test_a_stop_while_labels_ask_for_images_ends_the_run(
  stored, tmp_path, data_dir
):
  stored.corruptions = ("instance_dependent_labels(0.4)",)
  with pytest.raises(errors.PreemptedError, match="labels asks for them"):
    _execute(stored, tmp_path, data_dir, StopAfter(0))
  assert runs.read(tmp_path).status["state"] == "preempted"


def test_images_that_labels_ask_for_are_read_in_parts(capsys):
  asked = []

  def images(rows, epoch):
    asked.append((len(rows), epoch))
    return rows

  read = stream_labels.read_once(images, lambda: False)
  for rows in (np.arange(600), np.arange(600, 700)):
    np.testing.assert_array_equal(read(rows), rows)
  assert asked == [(200, 0)] * 3 + [(100, 0)]
  assert capsys.readouterr().err.count("read once, at every start") == 1


@pytest.mark.parametrize("subset", [0, 100])
def test_clean_passes_are_those_of_images_in_memory(
  subset, stored, tmp_path, data_dir
):
  stored.corruptions = ("random_labels()",)
  stored.eval_train_examples = subset
  stored.eval_batch_size = 64
  stored.metrics = ("margin()",)
  clean = {}
  for pipeline in ("stream", "resident"):
    stored.pipeline = pipeline
    found, static, _, state = _passes(stored, tmp_path / pipeline, data_dir)
    for split in ("train", "evaluated", "test"):
      clean[pipeline, split] = found.clean(
        static, state, split, lambda: None, loss=metrics.loss, logits=_logits
      )
    found.close()
  for split in ("train", "evaluated", "test"):
    ours, theirs = clean["stream", split], clean["resident", split]
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(
      jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True
    ):
      assert one.dtype == other.dtype and one.shape == other.shape
      np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
  evaluated = clean["stream", "evaluated"]
  assert evaluated.sums.count == (subset or 320)
  assert "margin" in evaluated.sums.label
  assert evaluated.each["logits"].shape == (subset or 320, 10)


def test_a_step_is_that_of_the_same_batch_in_memory(stored, tmp_path, data_dir):
  stored.batch_size = 320  # so that the order of an epoch does not matter
  states = []
  for pipeline in ("stream", "resident"):
    stored.pipeline = pipeline
    found, static, inputs, state = _passes(
      stored, tmp_path / pipeline, data_dir
    )
    states.append(found.advance(static, inputs, state, 0, 1))
    found.close()
  for one, other in zip(*map(jax.tree.leaves, states), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pipeline", ["stream", "resident"])
def test_the_last_batch_of_an_epoch_can_be_left_out(
  pipeline, stored, tmp_path, data_dir
):
  stored.pipeline = pipeline
  stored.drop_last = True
  stored.bookkeeping.examples_every_epochs = 3
  run = _execute(stored, tmp_path, data_dir)
  assert [row["step"] for row in run.rows] == [6, 12, 18]  # 320 = 6 * 50 + 20
  assert len(runs.read_examples(tmp_path)[3]["id"]) == 320  # but is evaluated


def test_a_streamed_run_stopped_at_every_step_ends_equal(
  noisy, tmp_path, mixed
):
  _execute(noisy, tmp_path / "whole", mixed)
  workdir = tmp_path / "pieces"
  for _ in range(20):
    try:
      # A step and both passes of an evaluation.
      _execute(noisy, workdir, mixed, StopAfter(3))
      break
    except errors.PreemptedError:
      pass
  record = runs.read(workdir)
  assert [row["step"] for row in record.rows] == [3, 6, 9]
  assert record.status["corruption"]["changed_fraction"] > 0
  assert end(workdir) == end(tmp_path / "whole")


def test_threads_and_a_cache_change_no_bit(noisy, tmp_path, mixed):
  noisy.regularizers = ("dropout(0.2)",)
  _execute(noisy, tmp_path / "whole", mixed)
  noisy.bookkeeping.cache_dir = str(tmp_path / "cache")
  noisy.bookkeeping.stream_threads = 0
  for name in ("makes the cache", "finds it"):
    _execute(noisy, tmp_path / name, mixed)
    assert end(tmp_path / name) == end(tmp_path / "whole")
  assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


@pytest.mark.parametrize(
  ("logged", "part", "cached"), [(0, 0, 24), (0, 5, 17), (3, 5, 24)]
)
def test_a_cache_serves_clean_passes_of_a_run_with_random_crops(
  logged, part, cached, noisy, tmp_path, mixed, monkeypatch
):
  noisy.eval_train_examples = part
  noisy.bookkeeping.examples_every_epochs = logged
  _execute(noisy, tmp_path / "whole", mixed)
  asked = []

  def decode(self, rows, epoch):
    if isinstance(self.frame, crops.Central):
      asked.extend(rows)
    return call(self, rows, epoch)

  call = decoding.Decoded.__call__
  monkeypatch.setattr(decoding.Decoded, "__call__", decode)
  noisy.bookkeeping.cache_dir = str(tmp_path / "cache")
  _execute(noisy, tmp_path / "cached", mixed)
  assert len(asked) == cached  # each once, and no more than are looked at
  assert end(tmp_path / "cached") == end(tmp_path / "whole")


def test_a_stop_while_all_images_are_read_once_ends_the_run(
  noisy, tmp_path, mixed
):
  shutil.copytree(f"{mixed}/mixed", tmp_path / "mixed")
  (tmp_path / "mixed/1.0.0" / index.FILE).unlink(missing_ok=True)
  with pytest.raises(errors.PreemptedError, match="--check"):
    _execute(noisy, tmp_path / "run", str(tmp_path), StopAfter(0))
  assert runs.read(tmp_path / "run").status["state"] == "preempted"
  assert not (tmp_path / "mixed/1.0.0" / index.FILE).exists()


def test_a_stop_while_another_process_makes_the_cache_is_heard(
  noisy, tmp_path, mixed
):
  noisy.regularizers = ()
  noisy.bookkeeping.cache_dir = str(tmp_path / "cache")
  _execute(noisy, tmp_path / "first", mixed)
  for made in (tmp_path / "cache").glob("*.npy"):
    made.unlink()
  with contextlib.ExitStack() as stack:
    for lock in (tmp_path / "cache").glob("*.lock"):
      stack.enter_context(files.lock(lock, "makes the cache"))
    with pytest.raises(errors.PreemptedError):
      _execute(noisy, tmp_path / "second", mixed, StopAfter(1))


def test_a_stop_while_the_cache_is_made_loses_nothing(noisy, tmp_path, mixed):
  noisy.regularizers = ()
  noisy.bookkeeping.cache_dir = str(tmp_path / "cache")
  with pytest.raises(errors.PreemptedError):
    _execute(noisy, tmp_path / "run", mixed, StopAfter(0))
  assert not list((tmp_path / "cache").glob("*.npy"))
  _execute(noisy, tmp_path / "run", mixed)
  assert runs.read(tmp_path / "run").status["state"] == "done"


def test_a_refused_run_makes_no_cache(noisy, tmp_path, mixed):
  noisy.corruptions = ("random_pixels()",)
  noisy.bookkeeping.cache_dir = str(tmp_path / "cache")
  with pytest.raises(errors.ConfigError, match="would augment nothing"):
    _execute(noisy, tmp_path / "run", mixed)
  assert not (tmp_path / "cache").exists()


def test_threads_end_with_their_pass(noisy, tmp_path, mixed):
  _execute(noisy, tmp_path / "warm", mixed)
  before = threading.active_count()
  _execute(noisy, tmp_path / "again", mixed)
  assert threading.active_count() <= before


@pytest.mark.parametrize("corrupt", ["gaussian()", "random_pixels()"])
def test_pixels_of_a_channel_are_corrupted_in_three(
  corrupt, config, tmp_path, data_dir
):
  config.pipeline = "stream"
  config.corruptions = (corrupt,)
  config.num_epochs = 1
  assert _execute(config, tmp_path, data_dir).done


@pytest.mark.slow
def test_processes_that_decode_change_no_bit(
  noisy, tmp_path, mixed, parsed_flags
):
  _execute(noisy, tmp_path / "whole", mixed)
  noisy.bookkeeping.stream_workers = 2
  _execute(noisy, tmp_path / "workers", mixed)
  assert end(tmp_path / "workers") == end(tmp_path / "whole")


def test_images_of_a_channel_may_be_resized(config, tmp_path, data_dir):
  config.pipeline = "stream"
  config.image_size = 12
  config.num_epochs = 1
  run = _execute(config, tmp_path, data_dir)
  assert run.status["parameters"] == 12 * 12 * 3 * 32 + 32 + 32 * 10 + 10


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    (dict(batch_size=999, drop_last=True), "999, more than the 320 examples"),
    (dict(image_size=9), "config.image_size is 9, .*8x8.*central_fraction"),
    (dict(test_split="validation"), "no split 'validation'.*train_split"),
    (dict(central_fraction=1.5), "central_fraction must be 0 to 1"),
    (dict(pipeline="streamed"), "'resident' or 'stream', not 'streamed'"),
    (dict(normalize="none"), "'per_image' or 'symmetric', not 'none'"),
    (dict(train_examples=10**6), "subset of 1000000"),
    (dict(eval_train_examples=10**6), "subset of 1000000"),
    (dict(method="construct()"), "'resident'"),
    (
      dict(regularizers=("random_resized_crop()",) * 2),
      "only one of them can cut",
    ),
    (
      dict(
        regularizers=("random_resized_crop()",),
        corruptions=("random_pixels()",),
      ),
      "changes the pixels",
    ),
  ],
  ids=str,
)
def test_what_does_not_fit_is_refused(
  changes, said, stored, tmp_path, data_dir
):
  stored.update(changes)
  with pytest.raises(errors.ConfigError, match=said):
    _execute(stored, tmp_path, data_dir)


def test_photos_of_several_sizes_in_memory_are_refused_with_the_way_out(
  noisy, tmp_path, mixed
):
  noisy.pipeline = "resident"
  with pytest.raises(errors.DataError, match=r"config\.pipeline='stream'"):
    _execute(noisy, tmp_path, mixed)
