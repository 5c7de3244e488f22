"""Labels from a file: read, matched to examples, part of the fingerprint."""

import re

import numpy as np
import pytest

from rethink import errors, example, settings
from rethink.corrupting import label_files
from rethink.methods import runner
from rethink.pipeline import datasets, run_data, stream_data
from tests.method_train_test import StopAfter

_CLASSES = ("cat", "dog", "frog")


def _read(tmp_path, text, classes=_CLASSES):
  path = tmp_path / "labels.csv"
  path.write_text(text)
  return label_files.read(str(path), classes)


@pytest.mark.parametrize(
  "text",
  [
    "name,label\na,dog\nb,cat\nc,frog\n",
    "name,label\na,1\nb,0\nc,2\n",
    "\ufeffname,label\r\na,dog\r\nb,cat\r\n\r\nc,frog\r\n",
    'label,worker,name\ndog,7,a\ncat,8,"b"\nfrog,7,c\n',
    "index , label\na, dog\nb, cat\nc, frog\n",
  ],
)
def test_a_csv_file_is_read(text, tmp_path):
  file = _read(tmp_path, text)
  assert file.names == ["a", "b", "c"]
  np.testing.assert_array_equal(file.labels, [1, 0, 2])
  assert file.labels.dtype == np.int32


@pytest.mark.parametrize(
  "arrays",
  [
    {"name": np.array(["7", "3"]), "label": np.array([2, 0])},
    {"index": np.array([7, 3]), "label": np.array([2, 0], np.int8)},
    {"name": np.array([b"7", b"3"]), "label": np.array(["frog", "cat"])},
  ],
)
def test_an_npz_archive_is_read(arrays, tmp_path):
  np.savez(tmp_path / "labels.npz", **arrays, other=np.zeros((2, 2)))
  file = label_files.read(str(tmp_path / "labels.npz"), _CLASSES)
  assert file.names == ["7", "3"]
  np.testing.assert_array_equal(file.labels, [2, 0])


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("", "column 'name' .* it has: none"),
    ("name,class\na,1\n", "a column 'label'; it has: name, class"),
    ("name,index,label\na,0,1\n", "'name' \\(or 'index'\\)"),
    ("name,label\n", "has 0 names"),
    ("name,label\na,1\nb\n", "the row 'b' has 1 cells, the header has 2"),
    ('name,label\n"a,1\n', "is no CSV file"),
    ("name,label\na,1\nb,1\na,1\n", "names 'a' twice"),
    ("name,label\na,1\nb,3\n", "label of 'b' is '3'; .* from 0 to 2"),
    ("name,label\na,1\nb,-1\n", "label of 'b' is '-1'"),
    ("name,label\na,1\nb,1.0\n", "label of 'b' is '1.0'"),
    ("name,label\na,cat\nb,cow\n", r"label of 'b' is 'cow'.*\(cat, dog, frog"),
    ("name,label\na,cat\nb,1\n", "label of 'b' is '1'.*for all rows positions"),
  ],
)
def test_a_file_that_says_no_labels_is_refused(text, said, tmp_path):
  with pytest.raises(errors.DataError, match=said) as caught:
    _read(tmp_path, text)
  assert "labels.csv" in str(caught.value)


def test_names_of_classes_that_are_other_positions_are_refused(tmp_path):
  text = "name,label\na,1\nb,2\n"
  assert _read(tmp_path, text, ("0", "1", "2")).labels.tolist() == [1, 2]
  with pytest.raises(errors.DataError, match="as well as positions"):
    _read(tmp_path, text, ("1", "2", "0"))
  ten = "name,label\na,10\n"  # no position: a name
  assert _read(tmp_path, ten, ("1", "10", "2")).labels.tolist() == [1]


@pytest.mark.parametrize("name", ["none.csv", "text.npz"])
def test_a_file_that_cannot_be_read_is_named(name, tmp_path):
  (tmp_path / "text.npz").write_text("name,label")
  with pytest.raises(errors.DataError, match=re.escape(name)):
    label_files.read(str(tmp_path / name), _CLASSES)


# In a run.


@pytest.fixture
def noisy(config, tmp_path, data_dir):
  """A config with a file of labels for all training digits, in any order."""
  digits = datasets.load("digits", data_dir)
  names, true = digits.names["train"], digits.splits["train"].label
  order = np.random.default_rng(0).permutation(len(names))
  labels = (true + 1) % 10
  path = tmp_path / "noisy.csv"
  lines = [f"{names[i]},{labels[i]}" for i in order]
  path.write_text("\n".join(["name,label", *lines]) + "\n")
  config.central_fraction = 0.0
  config.corruptions = (f"labels_from_file({str(path)!r})",)
  return config


def _load(config, data_dir):
  resolved = settings.resolve(config)
  if config.pipeline == "stream":
    return stream_data.open_data(resolved, data_dir).known
  return run_data.load(resolved, data_dir)


def _rewrite(tmp_path, change):
  path = tmp_path / "noisy.csv"
  header, *lines = path.read_text().splitlines()
  path.write_text("\n".join([header, *change(lines)]) + "\n")


every_pipeline = pytest.mark.parametrize("pipeline", ["resident", "stream"])


@every_pipeline
@pytest.mark.parametrize("subset", [0, 320])
def test_training_labels_are_those_of_the_file(
  pipeline, subset, noisy, data_dir
):
  noisy.pipeline, noisy.train_examples = pipeline, subset
  known = _load(noisy, data_dir)
  train, test = known.train, known.test
  assert len(train.id) == (subset or 1500)
  np.testing.assert_array_equal(train.label, (train.true_label + 1) % 10)
  np.testing.assert_array_equal(test.label, test.true_label)
  (facts,) = known.report["corruptions"]
  assert facts["named"] == 1500 and len(facts["digest"]) == 16
  assert known.report["changed_fraction"] == 1
  assert known.report["test_changed_fraction"] == 0


@every_pipeline
def test_what_a_file_does_not_name_keeps_its_label_if_that_is_asked_for(
  pipeline, noisy, tmp_path, data_dir
):
  noisy.pipeline, noisy.train_examples = pipeline, 0
  _rewrite(tmp_path, lambda lines: lines[:1400])
  said = (
    r"noisy\.csv does not name 100 examples of split 'train' of digits, such"
    r" as 'digit_\d{4}', 'digit_\d{4}', 'digit_\d{4}'; .*partial=True"
  )
  with pytest.raises(errors.DataError, match=said):
    _load(noisy, data_dir)
  path = tmp_path / "noisy.csv"
  noisy.corruptions = (f"labels_from_file({str(path)!r}, partial=True)",)
  known = _load(noisy, data_dir)
  assert (known.train.label == known.train.true_label).sum() == 100


@every_pipeline
def test_a_name_that_the_split_does_not_have_is_refused(
  pipeline, noisy, tmp_path, data_dir
):
  noisy.pipeline = pipeline
  _rewrite(tmp_path, lambda lines: [*lines, "digit_x,1", "0,1"])
  said = (
    r"noisy\.csv names 2 examples that split 'train' of digits does not have,"
    r" such as 'digit_x', '0'; it has names like 'digit_\d{4}'"
  )
  with pytest.raises(errors.DataError, match=said):
    _load(noisy, data_dir)


def test_a_part_of_the_labels_is_that_of_the_whole(noisy, data_dir):
  call = settings.resolve(noisy).corruptions[0]
  train = run_data.load(settings.resolve(noisy), data_dir).train
  digits = datasets.load("digits", data_dir)
  split = example.Split(
    "train", True, train.id, train.true_label, digits.splits["train"].id
  )
  context = example.Context(0, digits.info, 8, split)
  for rows in (np.arange(320)[::-1], np.arange(5, 9), np.array([3, 3])):
    labels, _ = call(train.id[rows], train.true_label[rows], context)
    np.testing.assert_array_equal(labels, train.label[rows])


def test_a_run_does_not_go_on_with_another_file(noisy, tmp_path, data_dir):
  workdir = str(tmp_path / "run")
  fingerprint = settings.resolve(noisy).outcome["input_files"]
  with pytest.raises(errors.PreemptedError):
    runner.execute(noisy, workdir, data_dir, StopAfter(8))
  assert runner.outlook(noisy, workdir) == "preempted"
  _rewrite(tmp_path, lambda lines: [*lines[1:], lines[0]])
  assert settings.resolve(noisy).outcome["input_files"] != fingerprint
  assert runner.outlook(noisy, workdir) == runner.REFUSED
  with pytest.raises(errors.ConfigError, match=r"input_files: .*noisy\.csv"):
    runner.execute(noisy, workdir, data_dir, StopAfter())
  _rewrite(tmp_path, lambda lines: [lines[-1], *lines[:-1]])
  assert runner.execute(noisy, workdir, data_dir, StopAfter()).done


def test_a_file_that_is_not_there_is_said_before_anything_is_read(config):
  config.corruptions = ("labels_from_file('none.csv')",)
  said = r"config\.corruptions: cannot read 'none\.csv'.*folder in which"
  with pytest.raises(errors.ConfigError, match=said):
    settings.resolve(config)


def test_without_such_files_the_outcome_has_no_field_for_them(config):
  config.corruptions = ("random_labels()",)
  assert "input_files" not in settings.resolve(config).outcome
