import concurrent.futures
import functools
import gc
import itertools
import pickle
import shutil
from multiprocessing.synchronize import SemLock

import jax
import numpy as np
import pytest

from rethink import corruptions, errors, example
from rethink.corrupting import kinds
from rethink.pipeline import (
  cache,
  crops,
  datasets,
  decoding,
  index,
  loader,
  order,
)

_SIZE = 32


def _context(split, frame, data_seed=7):
  info = split.info._replace(shape=frame.shape)
  return example.Context(data_seed, info, frame.shape[0])


def _labels(split, corrupt, context):
  ids, label, _ = split.entries
  whole = context._replace(split=example.Split(split.name, True, ids, label))
  after, _ = kinds.corrupt_labels(corrupt, whole, lambda _: pytest.fail())
  return example.Labels(ids, after, label)


def _training(
  split, frame, *, batch_size=5, num_epochs=3, seed=3, corrupt=(), **options
):
  """Batches of all epochs; the last of each is short unless it is dropped."""
  plan = order.Epochs(
    split.entries.id,
    seed,
    batch_size,
    num_epochs,
    drop_last=options.pop("drop_last", False),
  )
  images = decoding.Decoded(split, frame, seed, options.pop("threads", 1))
  context = _context(split, frame)
  labels = _labels(split, corrupt, context)
  pixels = kinds.of_pixels(corrupt)
  return loader.Batches(plan, labels, images, pixels, context, **options)


def _evaluation(split, images, *, batch_size=5, **options):
  plan = order.Once(len(split.entries.id), batch_size)
  context = _context(split, images.frame)
  labels = _labels(split, (), context)
  return loader.Batches(plan, labels, images, (), context, **options)


def _equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


# Both paths on one data set.

_CORRUPTIONS = {
  "none": (),
  "labels": (functools.partial(corruptions.partially_corrupted_labels, p=0.4),),
  "random": (corruptions.random_labels,),
  "shuffled": (corruptions.shuffled_pixels,),
  "pixels": (corruptions.random_pixels,),
  "gaussian": (corruptions.gaussian, corruptions.random_labels),
}


@pytest.mark.parametrize("name", _CORRUPTIONS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_both_paths_give_the_same_examples(name, split, data_dir):
  corrupt = _CORRUPTIONS[name]
  loaded = datasets.load("digits", data_dir)
  resident = loaded.splits[split]
  context = example.Context(7, loaded.info, 8)
  streamed = decoding.open_split("digits", data_dir, split)
  resident = resident._replace(label=_labels(streamed, corrupt, context).label)
  for corruption in kinds.of_pixels(corrupt):
    image, _ = corruption(resident.id, resident.image, context)
    resident = resident._replace(image=image)
  frame = crops.Whole(loaded.info.shape)
  batches = _training(
    streamed, frame, batch_size=128, num_epochs=1, corrupt=corrupt
  )
  parts = [batches[step].examples for step in range(len(batches))]
  whole = example.Example(*map(np.concatenate, zip(*parts, strict=True)))
  assert not np.array_equal(whole.id, resident.id)  # it is shuffled
  _equal(whole.take(np.argsort(whole.id)), resident)


def test_what_is_known_of_a_data_set_is_what_load_knows(data_dir):
  loaded, known = (
    load("digits", data_dir) for load in (datasets.load, index.open_index)
  )
  for field in ("name", "version", "splits", "class_names", "mean", "std"):
    assert getattr(loaded.info, field) == getattr(known.info, field), field
  for split, entries in known.splits.items():
    np.testing.assert_array_equal(entries.id, loaded.splits[split].id)
    np.testing.assert_array_equal(entries.label, loaded.splits[split].label)


# Order.


@pytest.mark.parametrize("process_count", [2, 3, 6])
def test_any_number_of_processes_makes_the_same_global_batch(
  process_count, mixed
):
  split = decoding.open_split("mixed", mixed, "train")
  frame = crops.RandomCrop(_SIZE)
  corrupt = _CORRUPTIONS["labels"]
  one = _training(split, frame, batch_size=6, corrupt=corrupt)
  many = [
    _training(
      split,
      frame,
      batch_size=6,
      corrupt=corrupt,
      process_index=i,
      process_count=process_count,
    )
    for i in range(process_count)
  ]
  for step in range(len(one)):
    parts = [batches[step] for batches in many]
    _equal(jax.tree.map(lambda *x: np.concatenate(x), *parts), one[step])


@pytest.mark.parametrize("start", range(9))
def test_f21_a_run_that_resumes_at_any_step_sees_the_same_batches(start, mixed):
  split = decoding.open_split("mixed", mixed, "train")
  frame = crops.RandomCrop(_SIZE)
  unbroken = list(loader.iterate(_training(split, frame)))
  assert len(unbroken) == 9  # batches of 5, 5 and 2 in three epochs
  resumed = list(loader.iterate(_training(split, frame), start))
  _equal(resumed, unbroken[start:])


def test_an_epoch_has_every_example_once_in_an_order_of_its_own(mixed):
  split = decoding.open_split("mixed", mixed, "train")
  batches = _training(split, crops.Central(_SIZE))
  orders = []
  for epoch in range(3):
    ids = [batches[3 * epoch + i].examples.id for i in range(3)]
    orders.append(np.concatenate(ids).tolist())
    assert sorted(orders[-1]) == split.entries.id.tolist()
  assert len(set(map(tuple, orders))) == 3
  other = _training(split, crops.Central(_SIZE), seed=4)
  assert other[0].examples.id.tolist() != orders[0][:5]


def test_the_order_of_some_examples_does_not_depend_on_the_others():
  ids = np.arange(1000, dtype=np.uint64)
  whole, part = (
    order.Epochs(x, seed=1, batch_size=len(x), num_epochs=2)
    for x in (ids, ids[::3])
  )
  for epoch in range(2):
    every = ids[whole[epoch].rows]
    kept = every[np.isin(every, ids[::3])]
    np.testing.assert_array_equal(kept, ids[::3][part[epoch].rows])


def test_every_position_is_as_likely():
  ids = np.arange(50, dtype=np.uint64)
  plan = order.Epochs(ids, seed=1, batch_size=50, num_epochs=2000)
  first = np.bincount([plan[e].rows[0] for e in range(2000)], minlength=50)
  assert ((first - 40) ** 2 / 40).sum() < 90  # chi2, 49 degrees: 1 in 3,000


def test_dropped_examples_are_others_in_each_epoch(mixed):
  split = decoding.open_split("mixed", mixed, "train")
  batches = _training(
    split, crops.Central(_SIZE), drop_last=True, num_epochs=20
  )
  assert len(batches) == 40
  dropped = []
  for epoch in range(20):
    ids = [batches[2 * epoch + i].examples.id for i in range(2)]
    assert [len(x) for x in ids] == [5, 5]
    dropped.append(set(split.entries.id) - set(np.concatenate(ids)))
  assert all(len(d) == 2 for d in dropped)
  assert len(set.union(*dropped)) > 8


def test_random_frames_differ_by_epoch_and_seed_only(mixed):
  split = decoding.open_split("mixed", mixed, "train")
  frame, rows = crops.RandomCrop(_SIZE), np.arange(12)
  images = decoding.Decoded(split, frame, seed=1)
  first = images(rows, 0)
  _equal(images(rows[::-1], 0)[::-1], first)
  assert (images(rows, 1) != first).any((1, 2, 3)).all()
  other = decoding.Decoded(split, frame, seed=2)
  assert (other(rows, 0) != first).any((1, 2, 3)).all()
  fixed = decoding.Decoded(split, crops.Central(_SIZE), seed=1)
  _equal(fixed(rows, 0), fixed(rows, 1))


def test_a_part_of_a_split_has_the_frames_and_labels_of_the_whole(mixed):
  split = decoding.open_split("mixed", mixed, "train")
  rows = np.array([1, 4, 9])
  part = split.take(rows)
  frame = crops.RandomCrop(_SIZE)
  _equal(
    decoding.Decoded(part, frame, 1)(np.arange(3), 0),
    decoding.Decoded(split, frame, 1)(rows, 0),
  )


@pytest.mark.parametrize("batch_size, process_count", [(5, 2), (4, 8), (10, 5)])
def test_batches_that_cannot_be_shared_are_refused(
  batch_size, process_count, mixed
):
  split = decoding.open_split("mixed", mixed, "train")  # (10, 5) leaves 2
  with pytest.raises(errors.ConfigError, match="cannot be shared"):
    _training(
      split,
      crops.Central(_SIZE),
      batch_size=batch_size,
      process_count=process_count,
    )


def test_a_batch_larger_than_the_data_is_refused(mixed):
  split = decoding.open_split("mixed", mixed, "train")
  with pytest.raises(errors.ConfigError, match="more than the 12 examples"):
    _training(split, crops.Central(_SIZE), batch_size=13, drop_last=True)


# Evaluation.


@pytest.mark.parametrize("batch_size, process_count", [(5, 1), (4, 2), (24, 3)])
def test_evaluation_has_every_example_exactly_once(
  batch_size, process_count, mixed
):
  split = decoding.open_split("mixed", mixed, "validation")
  images = decoding.Decoded(split, crops.Central(_SIZE), 0)
  seen = []
  for process in range(process_count):
    batches = _evaluation(
      split,
      images,
      batch_size=batch_size,
      process_index=process,
      process_count=process_count,
    )
    for batch in loader.iterate(batches):
      assert len(batch.mask) == batch_size // process_count  # one program
      seen += batch.examples.id[batch.mask].tolist()
  assert sorted(seen) == split.entries.id.tolist()


# Threads, processes, devices.


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_nothing(threads, mixed):
  split = decoding.open_split("mixed", mixed, "train")
  frame = crops.RandomCrop(_SIZE)
  batches = _training(split, frame, batch_size=12, threads=threads)
  alone = decoding.Decoded(split, frame, 3)
  for step, batch in enumerate(loader.iterate(batches)):
    rows = np.searchsorted(split.entries.id, batch.examples.id)
    _equal(batch.examples.image, alone(rows, step))


@pytest.mark.slow
def test_worker_processes_change_nothing(mixed, parsed_flags):
  split = decoding.open_split("mixed", mixed, "train")
  corrupt = _CORRUPTIONS["labels"]
  batches = _training(split, crops.RandomCrop(_SIZE), corrupt=corrupt)
  found = list(loader.iterate(batches, 1, 6, workers=2))
  _equal(found, [batches[step] for step in range(1, 6)])


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_worker_processes_leave_no_semaphores(whole, mixed, parsed_flags):
  def semaphores():
    return {id(o) for o in gc.get_objects() if isinstance(o, SemLock)}

  split = decoding.open_split("mixed", mixed, "train")
  batches = _training(split, crops.RandomCrop(_SIZE))
  gc.collect()
  before = semaphores()
  ahead = loader.iterate(batches, workers=1)
  next(ahead)
  assert semaphores() > before
  if whole:
    assert len(list(ahead)) == len(batches) - 1
  ahead.close()
  assert semaphores() == before


def test_batches_come_to_the_devices_as_they_are(mixed, sharding):
  split = decoding.open_split("mixed", mixed, "train")
  batches = _training(
    split,
    crops.Central(_SIZE),
    batch_size=4,
    corrupt=_CORRUPTIONS["random"],
  )
  found = list(loader.to_devices(loader.iterate(batches), sharding(2)))
  assert len(found) == len(batches) == 9
  for step, (batch, mask) in enumerate(found):
    examples = batches[step].examples
    _equal(tuple(batch), (examples.image, examples.label, examples.true_label))
    assert mask.all() and batch.image.sharding == sharding(2)
    assert batch.image.addressable_shards[0].data.shape[0] == 2


def test_a_batch_that_the_devices_do_not_divide_is_on_each_of_them(
  mixed, sharding
):
  split = decoding.open_split("mixed", mixed, "train")
  batches = _training(split, crops.Central(_SIZE))  # of 5, 5 and 2
  shapes = [
    batch.image.addressable_shards[0].data.shape[0]
    for batch, _ in itertools.islice(
      loader.to_devices(loader.iterate(batches), sharding(2)), 3
    )
  ]
  assert shapes == [5, 5, 1]


# Faults.


def test_an_unknown_split_is_refused(mixed):
  with pytest.raises(errors.ConfigError, match="train, validation"):
    decoding.open_split("mixed", mixed, "test")


def test_an_index_of_other_records_is_noticed(mixed):
  split = decoding.open_split("mixed", mixed, "train")
  entries = split.entries._replace(position=split.entries.position[::-1])
  images = decoding.Decoded(
    split._replace(entries=entries), crops.Central(_SIZE), 0
  )
  with pytest.raises(errors.DataError, match=index.FILE):
    images(np.arange(12), 0)


def test_a_record_that_was_damaged_after_the_index_was_made_is_named(
  mixed, tmp_path
):
  shutil.copytree(f"{mixed}/mixed", tmp_path / "mixed")
  decoding.open_split("mixed", str(tmp_path), "train")  # makes the index
  (shard,) = (tmp_path / "mixed/1.0.0").glob("*train.array_record*")
  content = bytearray(shard.read_bytes())
  image = content.find(b"\xff\xd8")  # where a JPEG begins
  content[image + 32 : image + 96] = bytes(64)
  shard.write_bytes(content)
  split = decoding.open_split("mixed", str(tmp_path), "train")
  images = decoding.Decoded(split, crops.Central(_SIZE), 0)
  with pytest.raises(errors.DataError, match=r"split 'train'.*--check mixed"):
    images(np.arange(12), 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_fault_in_a_thread_reaches_who_asks(threads, mixed):
  split = decoding.open_split("mixed", mixed, "train")
  batches = _training(split, crops.Whole((1, 1, 3)), threads=threads)
  with pytest.raises(errors.DataError, match="has shape"):
    list(loader.iterate(batches))


# The cache.


def test_the_cache_holds_what_is_decoded(mixed, tmp_path):
  split = decoding.open_split("mixed", mixed, "train")
  decoded = decoding.Decoded(split, crops.Central(_SIZE), 0)
  cached = cache.open_cache(decoded, str(tmp_path))
  rows = np.array([3, 0, 11, 3])
  _equal(cached(rows, 5), decoded(rows, 5))
  _equal(pickle.loads(pickle.dumps(cached))(rows, 5), decoded(rows, 5))


def test_the_cache_is_made_once(mixed, tmp_path, monkeypatch):
  split = decoding.open_split("mixed", mixed, "train")
  decoded = decoding.Decoded(split, crops.Central(_SIZE), 0)
  first = cache.open_cache(decoded, str(tmp_path))(np.arange(12), 0)
  monkeypatch.setattr(decoding.Decoded, "__call__", None)
  _equal(cache.open_cache(decoded, str(tmp_path))(np.arange(12), 0), first)


def test_other_frames_subsets_and_splits_have_other_caches(mixed, tmp_path):
  train, validation = (
    decoding.open_split("mixed", mixed, s) for s in ("train", "validation")
  )
  for split, frame in (
    (train, crops.Central(_SIZE)),
    (train, crops.Central(_SIZE, fraction=1.0)),
    (train.take(np.arange(5)), crops.Central(_SIZE)),
    (validation, crops.Central(_SIZE)),
  ):
    decoded = decoding.Decoded(split, frame, 0)
    rows = np.arange(len(split.entries.id))
    _equal(cache.open_cache(decoded, str(tmp_path))(rows, 0), decoded(rows, 0))
  assert len(list(tmp_path.glob("*.npy"))) == 4


def test_random_crops_are_never_cached(mixed, tmp_path):
  split = decoding.open_split("mixed", mixed, "train")
  decoded = decoding.Decoded(split, crops.RandomCrop(_SIZE), 0)
  with pytest.raises(errors.ConfigError, match="cannot be cached"):
    cache.open_cache(decoded, str(tmp_path))


def test_a_cache_that_was_interrupted_is_gone_on_with(
  mixed, tmp_path, monkeypatch
):
  monkeypatch.setattr(cache, "_CHUNK", 5)
  split = decoding.open_split("mixed", mixed, "train")
  decoded, asked = _Counted(split, crops.Central(_SIZE), 0), []
  looks = iter([False, False, True])
  stopped = cache.open_cache(decoded, str(tmp_path), lambda: next(looks))
  assert stopped is None and not list(tmp_path.glob("*.npy"))
  asked += decoded.rows
  cached = cache.open_cache(decoded, str(tmp_path))
  assert decoded.rows == list(range(12))  # each once
  assert asked == list(range(10))
  _equal(cached(np.arange(12), 0), decoded(np.arange(12), 0))
  assert len(list(tmp_path.iterdir())) == 2  # the frames and their lock


@pytest.mark.parametrize("damage", ["cut", "of other frames", "no mark"])
def test_what_a_killed_process_left_is_not_trusted(damage, mixed, tmp_path):
  split = decoding.open_split("mixed", mixed, "train")
  decoded = decoding.Decoded(split, crops.Central(_SIZE), 0)
  cache.open_cache(decoded, str(tmp_path))
  (path,) = tmp_path.glob("*.npy")
  content = path.read_bytes()
  path.unlink()
  if damage == "of other frames":
    np.save(path, np.zeros((3, 2, 2, 3), np.uint8))
    content = path.read_bytes()
    path.unlink()
  path.with_suffix(".partial").write_bytes(
    content[:500] if damage == "cut" else content
  )
  if damage != "no mark":
    path.with_suffix(".done").write_text("12")
  _equal(
    cache.open_cache(decoded, str(tmp_path))(np.arange(12), 0),
    decoded(np.arange(12), 0),
  )


class _Counted(decoding.Decoded):
  """Remembers what it was asked for."""

  def __init__(self, *args):
    super().__init__(*args)
    self.rows = []

  def __call__(self, rows, epoch):
    self.rows += rows.tolist()
    return super().__call__(rows, epoch)


def test_a_damaged_cache_is_named(mixed, tmp_path):
  split = decoding.open_split("mixed", mixed, "train")
  decoded = decoding.Decoded(split, crops.Central(_SIZE), 0)
  cache.open_cache(decoded, str(tmp_path))
  (path,) = tmp_path.glob("*.npy")
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(errors.DataError, match="is damaged; delete it"):
    cache.open_cache(decoded, str(tmp_path))


def test_a_disk_too_small_for_the_cache_is_said_before(
  mixed, tmp_path, monkeypatch
):
  usage = cache.shutil.disk_usage(tmp_path)._replace(free=1000)
  monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
  split = decoding.open_split("mixed", mixed, "train")
  decoded = decoding.Decoded(split, crops.Central(_SIZE), 0)
  with pytest.raises(errors.DataError, match="GB free"):
    cache.open_cache(decoded, str(tmp_path))


def test_a_disk_that_fills_up_meanwhile_is_named(mixed, tmp_path, monkeypatch):
  def refuse(*_):
    raise OSError(28, "No space left on device")

  split = decoding.open_split("mixed", mixed, "train")
  decoded = decoding.Decoded(split, crops.Central(_SIZE), 0)
  with monkeypatch.context() as patch:
    patch.setattr(cache.os, "fsync", refuse)
    with pytest.raises(errors.DataError, match="No space left"):
      cache.open_cache(decoded, str(tmp_path))
  rows = np.arange(12)
  _equal(cache.open_cache(decoded, str(tmp_path))(rows, 0), decoded(rows, 0))


def test_two_at_once_make_one_cache(mixed, tmp_path):
  split = decoding.open_split("mixed", mixed, "train")
  decoded = _Counted(split, crops.Central(_SIZE), 0)
  with concurrent.futures.ThreadPoolExecutor() as pool:
    jobs = [
      pool.submit(cache.open_cache, decoded, str(tmp_path)) for _ in range(4)
    ]
    found = [job.result()(np.arange(12), 0) for job in jobs]
  assert decoded.rows == list(range(12))
  _equal(found, [decoded(np.arange(12), 0)] * 4)
