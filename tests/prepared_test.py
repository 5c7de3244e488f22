"""A data set that has changed since it was prepared is noticed."""

import json
import shutil

import numpy as np
import pytest

from rethink import errors
from rethink.pipeline import datasets, decoding, index, prepared
from rethink.prepare import check, writer
from tests import shard_files


@pytest.fixture(scope="module")
def sealed(mixed, tmp_path_factory):
  """A data_dir with two data sets and what was written down about them."""
  root = tmp_path_factory.mktemp("sealed")
  shutil.copytree(f"{mixed}/mixed", root / "mixed")
  images = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3))
  items = [
    writer.Item(f"{i:02}", image, "0123"[i % 4])
    for i, image in enumerate(images.astype(np.uint8))
  ]
  source = writer.Source("", tuple("0123"), (4, 4, 3), {"train": items})
  writer.write("small", source, str(root))
  for name in ("small", "mixed"):
    check.summary(name, str(root))
  return root


@pytest.fixture
def copied(sealed, tmp_path):
  shutil.copytree(sealed, tmp_path, dirs_exist_ok=True)
  return tmp_path


def _resident(root, **options):
  return datasets.load("small", str(root), **options).info


def _streamed(root, **options):
  return decoding.open_split("mixed", str(root), "train", **options).info


_EACH = pytest.mark.parametrize(
  ("name", "read"), [("small", _resident), ("mixed", _streamed)]
)


def _swapped(records):
  """Two records of equal length are exchanged, so that all sizes stay."""
  return [records[1], records[0], *records[2:]]


@_EACH
def test_what_is_as_it_was_is_read(name, read, copied):
  assert (copied / name / "1.0.0" / prepared.FILE).is_file()
  read(copied)


@_EACH
def test_f67_a_shard_with_other_records_is_noticed(name, read, copied):
  path = shard_files.only(copied / name / "1.0.0")
  shard_files.rewrite(path, _swapped)
  with pytest.raises(errors.DataError) as caught:
    read(copied)
  assert f"{path} is not as rethink.prepare left it" in str(caught.value)
  with pytest.raises(errors.DataError, match="prepare left it"):
    check.summary(name, str(copied))
  read(copied, skip_damaged=True)  # what is left is asked for


@_EACH
def test_f67_other_counts_are_noticed(name, read, copied):
  path = copied / name / "1.0.0" / "dataset_info.json"
  info = json.loads(path.read_text())
  (split,) = (s for s in info["splits"] if s["name"] == "train")
  split["shardLengths"] = [str(int(split["shardLengths"][0]) - 2)]
  path.write_text(json.dumps(info))
  with pytest.raises(errors.DataError, match="splits have"):
    read(copied)
  (path.parent / prepared.FILE).unlink()  # of before it was written down
  with pytest.raises(errors.DataError, match="but dataset_info"):
    read(copied)


@_EACH
@pytest.mark.parametrize(
  "change",
  [
    lambda names: names[::-1],
    lambda names: [*names, "more", "yet more"],
    lambda names: names[:-1],
    lambda names: [],
  ],
)
def test_f67_other_class_names_are_noticed(change, name, read, copied):
  path = copied / name / "1.0.0" / "label.labels.txt"
  names = change(path.read_text().split())
  path.write_text("".join(f"{x}\n" for x in names))
  if name == "small" and not names:  # the classes 0 to 3 are called so anyway
    read(copied)
    return
  with pytest.raises(errors.DataError, match=r"label\.labels\.txt"):
    read(copied)
  with pytest.raises(errors.DataError, match=r"label\.labels\.txt"):
    check.summary(name, str(copied))


def test_f67_an_index_knows_the_class_names_of_older_data_sets(copied):
  path = copied / "mixed" / "1.0.0"
  (path / prepared.FILE).unlink()
  _streamed(copied)
  (path / "label.labels.txt").write_text("d\nc\nb\na\n")
  with pytest.raises(errors.DataError, match="other class names"):
    _streamed(copied)


@_EACH
def test_f67_a_lost_shard_and_a_new_one_are_noticed(name, read, copied):
  path = shard_files.only(copied / name / "1.0.0")
  shutil.copy(path, f"{path}.old.array_record")
  with pytest.raises(errors.DataError, match="it was not there"):
    read(copied)
  path.unlink()
  with pytest.raises(errors.DataError, match="it is missing"):
    read(copied)


@_EACH
def test_f67_older_data_sets_stay_readable(name, read, copied):
  path = copied / name / "1.0.0" / prepared.FILE
  facts = json.loads(path.read_text())
  known = read(copied)
  for field in facts:
    if field == "checksums_of":  # goes with the shards
      continue
    kept = {key: value for key, value in facts.items() if key != field}
    path.write_text(json.dumps(kept))
    assert read(copied) == known
  path.unlink()
  assert read(copied) == known
  check.summary(name, str(copied))
  assert json.loads(path.read_text()) == facts


@pytest.mark.parametrize(
  "content",
  [
    b"",
    b"[]",
    b"\xff",
    b'{"shards": 3}',
    b'{"shards": {"../x": [1, "a"]}, "checksums_of": "whole files"}',
    b'{"shards": {"x": [1, "a"]}}',
  ],
)
def test_f67_a_damaged_record_of_it_is_one_sentence(content, copied):
  path = copied / "small" / "1.0.0" / prepared.FILE
  path.write_bytes(content)
  with pytest.raises(errors.DataError, match=f"{path} is damaged"):
    _resident(copied)


def test_f67_of_large_data_the_ends_of_some_shards_are_read(
  copied, monkeypatch
):
  monkeypatch.setattr(prepared, "_WHOLE_BYTES", 0)
  path = copied / "small" / "1.0.0"
  (path / prepared.FILE).unlink()
  check.summary("small", str(copied))
  facts = json.loads((path / prepared.FILE).read_text())
  assert facts["checksums_of"] == "ends of files"
  _resident(copied)
  shard_files.rewrite(shard_files.only(path), _swapped)
  with pytest.raises(errors.DataError, match="has another content"):
    _resident(copied)


def test_f67_an_index_does_not_depend_on_what_is_written_down(
  copied, monkeypatch
):
  (copied / "mixed" / "1.0.0" / prepared.FILE).unlink()
  monkeypatch.setattr(index, "build", None)
  index.open_index("mixed", str(copied))


def _longer(facts, arrays):
  for split in facts["info"]["splits"]:
    for field in index.Entries._fields:
      key = f"{split}/{field}"
      arrays[key] = np.concatenate([arrays[key]] * 2)


@pytest.mark.parametrize(
  "change",
  [
    lambda facts, arrays: facts["info"].update(name="../../evil"),
    lambda facts, arrays: facts["info"].update(version="9.0.0"),
    lambda facts, arrays: arrays["train/label"].__iadd__(4),
    lambda facts, arrays: arrays["train/position"].__isub__(1),
    _longer,
  ],
)
def test_f67_an_index_of_other_data_is_refused(change, copied):
  path = copied / "mixed" / "1.0.0" / index.FILE
  with np.load(path) as file:
    arrays = dict(file)
  facts = json.loads(str(arrays.pop("facts")))
  change(facts, arrays)
  np.savez(path, facts=np.array(json.dumps(facts)), **arrays)
  with pytest.raises(errors.DataError, match="is of other data than lie"):
    _streamed(copied)


@pytest.mark.parametrize("facts", ["3", "[]", '{"stamp": 1}', "{}"])
def test_an_index_without_its_facts_is_made_anew(facts, copied):
  path = copied / "mixed" / "1.0.0" / index.FILE
  known = _streamed(copied)
  with np.load(path) as file:
    arrays = dict(file)
  np.savez(path, **{**arrays, "facts": np.array(facts)})
  assert _streamed(copied) == known
