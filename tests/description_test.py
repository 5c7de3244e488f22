"""A data set that somebody sends runs nothing and leads nowhere."""

import collections
import copy
import json
import os
import pathlib
import random
import shutil
import sys

import numpy as np
import pytest

from rethink import errors
from rethink.pipeline import datasets, description, index, prepared
from rethink.prepare import check, writer

_CLASS = "tensorflow_datasets.core.features.text_feature.Text"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  """The folder of a data set `small` of four images."""
  images = np.arange(4 * 48, dtype=np.uint8).reshape(4, 4, 4, 3)
  items = [writer.Item(str(i), images[i], "ab"[i % 2]) for i in range(4)]
  source = writer.Source("Four.", ("a", "b"), (4, 4, 3), {"train": items})
  return writer.write("small", source, str(tmp_path_factory.mktemp("small")))


@pytest.fixture
def folder(small, tmp_path):
  """A copy to change."""
  return shutil.copytree(small, tmp_path / "small" / "1.0.0")


@pytest.fixture
def evil(tmp_path, monkeypatch):
  """Makes an importable module; returns a function that says if it ran."""
  (tmp_path / "evil_features.py").write_text(
    "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"
  )
  monkeypatch.syspath_prepend(tmp_path)
  yield (tmp_path / "ran").exists
  sys.modules.pop("evil_features", None)


def _text(folder, change):
  """Changes the text feature `id`; it takes the old, and returns the new."""
  path = folder / "features.json"
  value = json.loads(path.read_text())
  features = value["featuresDict"]["features"]
  features["id"] = change(features["id"])
  path.write_text(json.dumps(value))


def _info(folder, **changes):
  path = folder / "dataset_info.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


_EVIL = "evil_features.Feature"
_NESTED = json.dumps({"feature": {"type": _EVIL, "content": {}}})


@pytest.mark.parametrize(
  "feature",
  [
    {"pythonClassName": _EVIL, "text": {}},
    {"python_class_name": _EVIL, "text": {}},
    {"type": _EVIL, "content": {}},
    {
      "pythonClassName": _CLASS.replace("text_feature.Text", "x.Sequence"),
      "jsonFeature": {"json": _NESTED},
    },
    {
      "pythonClassName": (
        "tensorflow_datasets.core.features.sequence_feature.Sequence"
      ),
      "jsonFeature": {"json": _NESTED},
    },
    {"pythonClassName": "os.system", "text": {}},
    {"pythonClassName": "Text", "text": {}},
    {"pythonClassName": _CLASS.replace("Text", "__class__"), "text": {}},
  ],
)
def test_f66_a_feature_class_of_its_own_is_refused_before_it_is_imported(
  feature, folder, evil
):
  _text(folder, lambda _: feature)
  data_dir = str(folder.parent.parent)
  for read in (datasets.load, index.open_index, check.summary):
    with pytest.raises(errors.DataError, match="names the feature class"):
      read("small", data_dir)
  assert not evil() and "evil_features" not in sys.modules


def test_f66_without_the_check_the_class_would_run(folder, evil, monkeypatch):
  _text(folder, lambda _: {"pythonClassName": _EVIL, "text": {}})
  monkeypatch.setattr(description, "require_safe", lambda directory: None)
  with pytest.raises(errors.DataError):
    datasets.load("small", str(folder.parent.parent))
  assert evil()


def test_f66_features_in_the_other_file_are_checked_alike(folder, evil):
  _info(folder, features={"pythonClassName": _EVIL, "text": {}})
  with pytest.raises(errors.DataError, match="names the feature class"):
    datasets.load("small", str(folder.parent.parent))
  assert not evil()


@pytest.mark.parametrize(
  "changes",
  [
    {"name": "../../x"},
    {"name": "/etc/passwd"},
    {"name": ".."},
    {"name": 3},
    {"version": "../1.0.0"},
    {"configName": "a/../../b"},
    {"fileFormat": "../../array_record"},
    {"splits": [{"name": "../train"}]},
    *(
      {"splits": [{"name": "train", key: template, "shardLengths": ["1"]}]}
      for key, template in (
        ("filepathTemplate", "/etc/passwd"),
        ("filepathTemplate", "../../{SPLIT}"),
        ("filepathTemplate", ".."),
        ("filepath_template", "a/b"),
        ("filepathTemplate", "{SPLIT.__class__}"),
        ("filepathTemplate", "{SPLIT:>999999999}"),
        ("filepathTemplate", 3),
      )
    ),
  ],
)
def test_f66_names_and_templates_that_lead_elsewhere_are_refused(
  changes, folder
):
  _info(folder, **changes)
  data_dir = str(folder.parent.parent)
  for read in (datasets.load, check.summary):
    with pytest.raises(errors.DataError) as caught:
      read("small", data_dir)
    advice = str(caught.value).partition("\n")[2]
    assert advice == f"delete {folder} and prepare the data set again"


@pytest.mark.parametrize("key", ["../../x", "a/../b", "/x", "a\\b", ".x"])
def test_f66_a_feature_whose_name_leads_elsewhere_is_refused(key, folder):
  path = folder / "features.json"
  value = json.loads(path.read_text())
  features = value["featuresDict"]["features"]
  features[key] = features.pop("label")
  path.write_text(json.dumps(value))
  with pytest.raises(errors.DataError, match="leads elsewhere"):
    datasets.load("small", str(folder.parent.parent))


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize(
  "content", ["", "[]", "3", "\udcff", '{"a":' * 9999, '[{"a":' * 30000]
)
def test_f66_rubbish_is_one_sentence(name, content, folder):
  (folder / name).write_bytes(os.fsencode(content))
  with pytest.raises(errors.DataError, match=f"{name}: is"):
    description.require_safe(str(folder))


def test_f66_a_pipe_in_a_data_set_is_not_waited_for(folder):
  os.mkfifo(folder / "small-more.array_record-00000-of-00001")
  with pytest.raises(errors.DataError, match="is no regular file"):
    datasets.load("small", str(folder.parent.parent))


def test_f66_older_descriptions_of_tfds_are_read(folder):
  prefix = "tensorflow_datasets.core.features."
  content = {
    "id": {"type": f"{prefix}text_feature.Text", "content": {}},
    "image": {
      "type": f"{prefix}image_feature.Image",
      "content": {
        "shape": [4, 4, 3],
        "dtype": "uint8",
        "encoding_format": "png",
      },
    },
    "label": {
      "type": f"{prefix}class_label_feature.ClassLabel",
      "content": {"num_classes": 2},
    },
  }
  kind = f"{prefix}features_dict.FeaturesDict"
  (folder / "features.json").write_text(
    json.dumps({"type": kind, "content": content})
  )
  _info(folder, description="[not JSON] {type: x}", citation='{"type": "x"}')
  assert datasets.load("small", str(folder.parent.parent)).info.splits


def test_f66_a_slash_in_the_name_of_a_feature_is_usual(folder):
  path = folder / "features.json"
  value = json.loads(path.read_text())
  features = value["featuresDict"]["features"]
  features["image/filename"] = features["id"]  # as in stanford_dogs
  path.write_text(json.dumps(value))
  description.require_safe(str(folder))


@pytest.mark.parametrize(
  "name",
  ["../digits", "/abs/digits", "a/../digits", "", ".", "digits:*", "a/b/c"],
)
def test_f66_a_name_of_a_data_set_is_no_path(name, tmp_path):
  data_dir = str(tmp_path)
  with pytest.raises(errors.ConfigError, match="--data_dir"):
    datasets.find(name, data_dir)
  asked = f"{pathlib.Path(data_dir) / name}"
  with pytest.raises(errors.ConfigError):
    datasets.load(asked, data_dir)


def test_f66_advice_names_what_was_asked_for(folder):
  _info(folder, name="elsewhere", fileFormat="tfrecord")
  data_dir = str(folder.parent.parent)
  with pytest.raises(errors.DataError) as caught:
    datasets.load("small", data_dir)
  command = f"python -m rethink.prepare small --data_dir={data_dir}"
  assert command in str(caught.value)


_VALUES = (None, -1, 2**70, 1.5, "", "x", "../x", "é" * 300, [], {}, {"a": 1})


def _mutated(value, rng):
  """Returns a JSON value of which one part is another, gone or doubled."""
  value = copy.deepcopy(value)
  places = []

  def visit(inner):
    for key in inner if isinstance(inner, dict) else range(len(inner)):
      places.append((inner, key))
      if isinstance(inner[key], dict | list):
        visit(inner[key])

  visit(value)
  inner, key = rng.choice(places)
  how = rng.randrange(8)
  if how == 0:
    del inner[key]
  elif how == 1 and isinstance(inner, list):
    inner.append(inner[key])
  elif how == 2 and isinstance(inner, dict):
    inner[rng.choice(["type", "x", "../x"])] = inner.pop(key)
  else:
    inner[key] = rng.choice(_VALUES)
  return value


def _mutations(folder, seeds):
  """Mutates a file of a data set for each seed; returns how it ended."""
  data_dir = str(folder.parent.parent)
  check.summary("small", data_dir)
  names = ("features.json", "dataset_info.json", prepared.FILE)
  sound = {name: (folder / name).read_text() for name in names}
  ended = collections.Counter()
  for seed in seeds:
    rng = random.Random(seed)
    name = rng.choice(names)
    value = _mutated(json.loads(sound[name]), rng)
    (folder / name).write_text(json.dumps(value))
    if name != prepared.FILE and rng.random() < 0.5:
      (folder / prepared.FILE).unlink()
    for read in (datasets.load, check.summary):
      try:
        read("small", data_dir)
        ended["read"] += 1
      except errors.DataError:
        ended["refused"] += 1
    for name, text in sound.items():
      (folder / name).write_text(text)
  return ended


def test_f66_a_mutated_description_is_read_or_one_sentence(folder):
  ended = _mutations(folder, range(25))
  assert min(ended["read"], ended["refused"]) >= 5, ended


@pytest.mark.slow
def test_f66_many_mutated_descriptions_are_read_or_one_sentence(folder):
  assert min(_mutations(folder, range(1000, 1500)).values()) >= 100
