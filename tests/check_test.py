import json
import re
import shutil

import numpy as np
import pytest
from array_record.python import array_record_module

from rethink import errors
from rethink.prepare import check, official
from tests import archives, conftest, shard_files


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
  """A data_dir that holds a small CIFAR-100."""
  root = tmp_path_factory.mktemp("sound")
  with archives.registered(archives.make("cifar100", root / "archives")):
    official.prepare("cifar100", str(root), str(root / "archives"))
  return root


@pytest.fixture
def folder(sound, tmp_path):
  """A copy to damage: the folder with the files."""
  return shutil.copytree(
    sound / "cifar100" / "3.0.2", tmp_path / "cifar100" / "3.0.2"
  )


def _check(*args):
  return conftest.python("-m", "rethink.prepare", "--check", *args)


def _refused(tmp_path, name="cifar100"):
  done = _check(name, f"--data_dir={tmp_path}")
  assert done.returncode == 4, (done.stdout, done.stderr)
  assert not done.stdout and "Traceback" not in done.stderr
  return done.stderr


def test_a_sound_data_set_is_told_in_one_line(sound):
  done = _check("cifar100", f"--data_dir={sound}")
  assert done.returncode == 0, done.stderr
  assert re.fullmatch(
    r"cifar100 3\.0\.2: train 70, test 23; fingerprint [0-9a-f]{32}\n",
    done.stdout,
  )
  again = check.summary("cifar100:3.0.2", str(sound))
  assert f"{again}\n" == done.stdout


def test_every_flipped_byte_is_harmless_or_named(folder, tmp_path):
  sound = check.summary("cifar100", str(tmp_path))
  path = shard_files.only(folder)
  data = path.read_bytes()
  used = 70 * 3100  # the rest of the file is padding
  places = range(40, used, used // 12)
  named = 0
  for where in places:
    path.write_bytes(
      data[:where] + bytes([data[where] ^ 0xFF]) + data[where + 1 :]
    )
    try:
      assert check.summary("cifar100", str(tmp_path)) == sound
    except errors.DataError as error:
      assert str(path) in str(error)
      named += 1
  assert named > len(places) / 2


def test_the_position_of_a_damaged_record_is_named(folder, tmp_path):
  path = shard_files.only(folder)
  data = bytearray(path.read_bytes())
  reader = array_record_module.ArrayRecordReader(str(path))
  record = reader.read([41])[0]
  reader.close()
  data[data.index(record[200:260])] ^= 0xFF
  path.write_bytes(data)
  assert f"{path}: record 41 of 70" in _refused(tmp_path)


@pytest.mark.parametrize("size", [0, 10, 65536])
def test_a_cut_shard_is_named(size, folder, tmp_path):
  path = shard_files.only(folder, "test")
  path.write_bytes(path.read_bytes()[:size])
  with pytest.raises(errors.DataError) as caught:
    check.summary("cifar100", str(tmp_path))
  assert str(path) in str(caught.value)


def test_a_missing_shard_is_named(folder, tmp_path):
  path = shard_files.only(folder, "test")
  path.unlink()
  assert f"{path}: is missing" in _refused(tmp_path)


@pytest.mark.parametrize(
  ("change", "count"), [(lambda r: r[1:], 69), (lambda r: [*r, r[0]], 71)]
)
def test_a_wrong_number_of_records_is_named(change, count, folder, tmp_path):
  shard_files.rewrite(shard_files.only(folder), change)
  with pytest.raises(errors.DataError) as caught:
    check.summary("cifar100", str(tmp_path))
  assert f"{shard_files.only(folder)}: holds {count}" in str(caught.value)


def _no_image(records):
  at = records[33].index(b"\x89PNG")
  records[33] = records[33][:at] + b"rubbish!" + records[33][at + 8 :]
  return records


def _no_example(records):
  records[33] = b"\xff" * 40
  return records


@pytest.mark.parametrize("change", [_no_image, _no_example])
def test_a_sound_record_of_rubbish_is_named(change, folder, tmp_path):
  shard_files.rewrite(shard_files.only(folder), change)
  said = _refused(tmp_path)
  assert re.search(rf"{shard_files.only(folder)}: .*record 33 of 70", said)
  assert f"delete {folder} and prepare the data set again" in said


def test_a_label_out_of_range_is_named(folder, tmp_path):
  # 99 classes: the one example of class 99, wherever it is, has no name.
  features = json.loads((folder / "features.json").read_text())
  label = features["featuresDict"]["features"]["label"]
  label["classLabel"]["numClasses"] = "40"
  (folder / "features.json").write_text(json.dumps(features))
  names = (folder / "label.labels.txt").read_text().splitlines()
  (folder / "label.labels.txt").write_text("\n".join(names[:40]) + "\n")
  with pytest.raises(errors.DataError) as caught:
    check.summary("cifar100", str(tmp_path))
  said = re.search(
    r"train.*: record (\d+) of 70 has the label (\d+), but there are only 40"
    r" classes",
    str(caught.value),
  )
  assert said and int(said[2]) >= 40
  assert int(said[2]) in np.unique(archives.labels("cifar100", "train"))


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_damaged_description_is_named(name, folder, tmp_path):
  path = folder / name
  path.write_bytes(path.read_bytes()[:99])
  assert f"{path}: is damaged" in _refused(tmp_path)


def test_what_is_not_there_is_no_bug(tmp_path):
  assert "rethink.prepare cifar100" in _refused(tmp_path)


@pytest.mark.parametrize(
  "args", [(), ("a", "b"), ("../up",), ("a", "--npz=b"), ("a", "--archives=b")]
)
def test_a_wrong_command_exits_2(args, tmp_path):
  done = _check(*args, f"--data_dir={tmp_path}")
  assert done.returncode == 2, done.stderr
  assert "Traceback" not in done.stderr
