import json
import shutil

import numpy as np
import PIL.Image
import pytest
from tensorflow_datasets.core.utils import shard_utils

from rethink import errors
from rethink.pipeline import index
from rethink.prepare import check, folder
from tests import photos


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """Twelve and twelve photos of several sizes, not yet indexed."""
  root = tmp_path_factory.mktemp("mixed")
  photos.tree(root / "images")
  return folder.prepare(
    "mixed", str(root / "images"), str(root), skip_damaged=False
  )


@pytest.fixture
def copied(prepared, tmp_path):
  """A data_dir with a copy of `prepared`, and the copy."""
  path = tmp_path / "mixed" / "1.0.0"
  shutil.copytree(prepared, path, ignore=lambda *_: [index.FILE])
  return str(tmp_path), path


def _flip(path, split):
  """Flips a bit in the middle of the only shard of a split."""
  (shard,) = path.glob(f"*{split}*array_record*")
  data = bytearray(shard.read_bytes())
  used = np.flatnonzero(data)  # the rest is padding
  data[used[len(used) // 2]] ^= 1
  shard.write_bytes(data)


def _assert_same(a, b):
  assert a.info == b.info and a.skipped == b.skipped
  assert set(a.splits) == set(b.splits)
  for split in a.splits:
    for one, other in zip(a.splits[split], b.splits[split], strict=True):
      np.testing.assert_array_equal(one, other)
      assert one.dtype == other.dtype


def test_an_index_is_made_once(copied, monkeypatch):
  data_dir, _ = copied
  made = index.open_index("mixed", data_dir)
  monkeypatch.setattr(index, "build", None)
  _assert_same(index.open_index("mixed", data_dir), made)


def test_check_makes_it_anew_and_says_what_there_is(copied):
  data_dir, path = copied
  said = check.summary("mixed", data_dir)
  assert (path / index.FILE).exists()
  known = index.open_index("mixed", data_dir).info
  assert said == (
    "mixed 1.0.0: train 12, validation 12; fingerprint " + known.fingerprint
  )
  _flip(path, "train")
  with pytest.raises(errors.DataError, match=r"train.*array_record.*record \d"):
    check.summary("mixed", data_dir)


def test_moments_are_those_of_all_pixels_of_the_training_split(
  copied, tmp_path
):
  known = index.open_index("mixed", copied[0])
  root = photos.tree(tmp_path / "again")
  pixels = np.concatenate(
    [
      np.asarray(PIL.Image.open(path).convert("RGB")).reshape(-1, 3)
      for path in root.glob("train/*/*")
    ]
  )
  assert len(list(root.glob("train/*/*"))) == len(known.splits["train"].id)
  np.testing.assert_allclose(known.info.mean, pixels.mean(0), rtol=1e-9)
  np.testing.assert_allclose(known.info.std, pixels.std(0), rtol=1e-9)


@pytest.mark.parametrize("content", [b"", b"no index"])
def test_a_damaged_index_is_made_anew(content, copied):
  data_dir, path = copied
  made = index.open_index("mixed", data_dir)
  (path / index.FILE).write_bytes(content)
  _assert_same(index.open_index("mixed", data_dir), made)


def test_other_images_under_the_same_name_have_another_index(copied, tmp_path):
  data_dir, path = copied
  before = index.open_index("mixed", data_dir)
  root = photos.tree(tmp_path / "images")
  image = next((root / "train" / "a").iterdir())
  image.write_bytes(photos.encoded(photos.photo(999, 50, 50)))
  kept = (path / index.FILE).read_bytes()
  shutil.rmtree(path)
  folder.prepare("mixed", str(root), data_dir, skip_damaged=False)
  (path / index.FILE).write_bytes(kept)  # of the data set that was there
  after = index.open_index("mixed", data_dir)
  assert after.info.fingerprint != before.info.fingerprint
  np.testing.assert_array_equal(
    after.splits["train"].id, before.splits["train"].id
  )


def test_sharding_and_order_do_not_change_the_fingerprint(
  prepared, tmp_path, monkeypatch
):
  monkeypatch.setattr(shard_utils.ShardConfig, "min_shard_size", 2000)
  monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
  root = photos.tree(tmp_path / "images")
  path = folder.prepare("mixed", str(root), str(tmp_path), skip_damaged=False)
  assert len(list(path.glob("*train*array_record*"))) > 1
  whole = index.open_index("mixed", str(prepared.parent.parent))
  assert index.open_index("mixed", str(tmp_path)).info == whole.info


def test_f24_damaged_records_are_left_out_of_an_index_on_request_only(copied):
  data_dir, path = copied
  whole = index.open_index("mixed", data_dir)
  (path / index.FILE).unlink()
  _flip(path, "train")
  with pytest.raises(errors.DataError):
    index.open_index("mixed", data_dir)
  part = index.open_index("mixed", data_dir, skip_damaged=True)
  assert len(part.skipped) == 1 and "split 'train'" in part.skipped[0]
  assert len(part.splits["train"].id) == 11
  assert set(part.splits["train"].id) < set(whole.splits["train"].id)
  assert part.info.fingerprint != whole.info.fingerprint
  with pytest.raises(errors.DataError):  # also now that there is an index
    index.open_index("mixed", data_dir)


def test_a_disk_that_takes_no_index_is_said(copied, monkeypatch, capsys):
  data_dir, path = copied

  def refuse(path, content):
    raise errors.RethinkError(f"{path} cannot be written")

  monkeypatch.setattr(index.files, "write", refuse)
  found = index.open_index("mixed", data_dir)
  assert found.info.splits == {"train": 12, "validation": 12}
  assert "every start reads all" in capsys.readouterr().err
  assert not (path / index.FILE).exists()


def test_an_index_holds_plain_arrays_and_json(copied):
  data_dir, path = copied
  index.open_index("mixed", data_dir)
  with np.load(path / index.FILE, allow_pickle=False) as file:
    assert json.loads(str(file["facts"]))["info"]["name"] == "mixed"
    assert file["train/id"].dtype == np.uint64
