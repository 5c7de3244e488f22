"""Writes image data sets of any size, without TensorFlow, on all cores.

Order and sharding are those of TFDS's own writer, which shuffles by a hash of
split and key. Memory contains only names, sizes and positions of the images.
Once the order is known, shards are written independently of each other, reading
every image from its source. If the process is killed, the next attempt keeps
the complete shards.
"""

import concurrent.futures
import hashlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rethink import errors
from rethink.prepare import remarks, shard_jobs
from rethink.storage import files

_PLAN = "plan.txt"  # digest of the plan that the shards in a folder belong to


class Plan(NamedTuple):
  """A data set to write.

  Attributes:
    splits: the images of each split, in any order.
    id_feature: feature that stores the name.
    convert: (name, encoded image, remark) -> the encoded image to store;
      `remark(kind, name)` notes something to be said of it. Must be a function
      at module level, because other processes call it.
    skip_damaged: leave out images that cannot be decoded, instead of raising.
  """

  splits: Mapping[str, Sequence[shard_jobs.Piece]]
  id_feature: str
  convert: shard_jobs.Convert
  skip_damaged: bool


def write(builder_class: Any, plan: Plan, data_dir: str) -> pathlib.Path:
  """Writes `data_dir/name/version`, completely or not at all; returns it.

  The caller holds the data set's lock.

  Args:
    builder_class: a tfds builder with features image, label and
      `plan.id_feature`; it gives name, version and description.
    plan: the data set to write.
    data_dir: folder of the prepared data sets.

  Raises:
    DataError: naming an image that cannot be read or decoded, or if the disk
      cannot be written. Complete shards are kept for the next attempt.
  """
  root = pathlib.Path(data_dir).expanduser()
  builder = builder_class(data_dir=str(root), file_format="array_record")
  target = root / builder.name / str(builder.version)
  folder = target.with_name(f"incomplete.shards_{builder.version}")
  shards = {
    split: _shards(split, images) for split, images in plan.splits.items()
  }
  try:
    _begin(folder, plan, root)
    templates = {s: _template(builder.name, folder, s) for s in shards}
    jobs = [
      (split, _path(templates[split], i, len(parts)), part)
      for split, parts in shards.items()
      for i, part in enumerate(parts)
    ]
    written = _write_all(jobs, builder.info.features, plan)
    _describe(builder.info, folder, templates, written)
    skipped = [
      f"split {split!r}: {line}"
      for split, parts in written.items()
      for part in parts
      for line in part.skipped
    ]
    if skipped:
      files.write(folder / "skipped.txt", "\n".join(skipped) + "\n")
      print(
        f"rethink: {len(skipped)} damaged images were left out; they are listed"
        f" in {target / 'skipped.txt'}",
        file=sys.stderr,
      )
    notes = remarks.Remarks()
    for part in (part for parts in written.values() for part in parts):
      notes.update({kind: (n, name) for kind, (n, name) in part.noted.items()})
    notes.say()
    (folder / _PLAN).unlink()
    shutil.rmtree(folder / shard_jobs.DONE)
    os.replace(folder, target)
  except errors.DataError:
    raise
  except (OSError, RuntimeError) as error:  # RuntimeError is ArrayRecord's
    raise errors.DataError(
      f"cannot write data set {builder.name!r} to {target}: {error}"
    ) from error
  return target


def _template(name: str, folder: pathlib.Path, split: str) -> Any:
  import tensorflow_datasets as tfds

  path: Any = folder  # the annotation knows only TFDS's own kind of path
  return tfds.core.ShardedFileTemplate(
    dataset_name=name,
    data_dir=path,
    split=split,
    filetype_suffix="array_record",
  )


def _path(template: Any, shard: int, shards: int) -> str:
  return str(template.sharded_filepath(shard_index=shard, num_shards=shards))


def _describe(
  info: Any,
  folder: pathlib.Path,
  templates: Mapping[str, Any],
  written: Mapping[str, Sequence[shard_jobs.Written]],
) -> None:
  """Writes the metadata files with which TFDS reads the shards."""
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import splits

  found = [
    tfds.core.SplitInfo(
      name=split,
      shard_lengths=[part.count for part in parts],
      num_bytes=sum(part.num_bytes for part in parts),
      filename_template=templates[split],
    )
    for split, parts in written.items()
  ]
  info.set_splits(splits.SplitDict(found))
  info.write_to_directory(folder)


def _shards(
  split: str, images: Sequence[shard_jobs.Piece]
) -> list[list[shard_jobs.Piece]]:
  """Sorts the images in TFDS's order and divides them into shards as TFDS does.

  TFDS chooses the number of shards by the size of the records. Here the size of
  the images is used, which is about a hundred bytes less per record.
  """
  from tensorflow_datasets.core import hashing
  from tensorflow_datasets.core.utils import shard_utils

  if len({image.name for image in images}) != len(images):
    raise errors.DataError(
      f"split {split!r} has two images of the same name; rename one of them"
    )
  hasher = hashing.Hasher(split)
  ordered = sorted(images, key=lambda image: hasher.hash_key(image.name))
  number = shard_utils.ShardConfig().get_number_shards(
    sum(image.size for image in images), len(images)
  )
  ends = shard_utils.get_shard_boundaries(len(images), number)
  return [
    ordered[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)
  ]


def _begin(folder: pathlib.Path, plan: Plan, root: pathlib.Path) -> None:
  """Makes the folder, or keeps that of an interrupted attempt at the same plan.

  Raises:
    DataError: if the data set does not fit on the disk.
  """
  digest = hashlib.blake2b(digest_size=16)
  total = 0
  for split, images in plan.splits.items():
    # `skip_damaged` is not part of the plan: it matters only for shards with
    # damaged images, and `write_shard` writes those again.
    digest.update(f"{split} {plan.id_feature}\n".encode())
    for image in images:
      digest.update(repr(image).encode())
      total += image.size
  same = folder / _PLAN
  if (
    not same.exists() or same.read_text(encoding="utf-8") != digest.hexdigest()
  ):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / shard_jobs.DONE).mkdir(parents=True)
    free = shutil.disk_usage(root).free
    if free < total:
      raise errors.DataError(
        f"the data set takes {total / 1e9:.1f} GB, but the disk of {root} has"
        f" only {free / 1e9:.1f} GB free; make room, or choose another"
        " --data_dir"
      )
    files.write(same, digest.hexdigest())


def _write_all(
  jobs: Sequence[tuple[str, str, list[shard_jobs.Piece]]],
  features: Any,
  plan: Plan,
) -> dict[str, list[shard_jobs.Written]]:
  """Writes all shards that are not complete yet; returns their contents."""
  processes = min(len(os.sched_getaffinity(0)), len(jobs))
  common = features, plan.id_feature, plan.convert, plan.skip_damaged
  if processes == 1:
    done = [
      shard_jobs.write_shard(path, part, *common) for _, path, part in jobs
    ]
  else:
    pool = concurrent.futures.ProcessPoolExecutor(
      processes, multiprocessing.get_context("spawn"), _die_with_parent
    )
    try:
      futures = [
        pool.submit(shard_jobs.write_shard, path, part, *common)
        for _, path, part in jobs
      ]
      _report(futures)
      done = [future.result() for future in futures]
    except concurrent.futures.BrokenExecutor as error:
      raise errors.DataError(
        f"a process that writes shards was killed ({error}), perhaps because"
        " memory ran out; run the same command again to write the missing"
        " shards"
      ) from error
    finally:
      pool.shutdown(cancel_futures=True)
  written = {split: [] for split in plan.splits}
  for (split, _, _), result in zip(jobs, done, strict=True):
    written[split].append(result)
  return written


def _report(futures: Sequence[concurrent.futures.Future]) -> None:
  """Waits for all shards and prints progress every half minute.

  An exception in a shard is raised at once.
  """
  began = said = time.monotonic()
  for count, future in enumerate(
    concurrent.futures.as_completed(futures), start=1
  ):
    future.result()
    now = time.monotonic()
    if now - said > 30:
      said = now
      print(
        f"rethink: {count} of {len(futures)} shards, {now - began:.0f} s",
        file=sys.stderr,
        flush=True,
      )


def _die_with_parent() -> None:
  """Makes a worker exit when its parent does.

  Otherwise a worker of a killed process would go on writing, while the next
  process holds the lock and writes the same shards.
  """
  parent = multiprocessing.parent_process()
  assert parent

  def watch():
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
