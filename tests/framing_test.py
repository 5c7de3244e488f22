"""Crop and resize: two words that mean the same on both pipelines."""

import numpy as np
import pytest

from configs import base, cifar10, imagenet
from rethink import console, errors, example, settings
from rethink.methods import runner
from rethink.pipeline import framing, loader, run_data, stream_data
from rethink.prepare import arrays, writer
from rethink.storage import fingerprints


def _seen(known, data_dir):
  """(training images as a model sees them, by id; the data) of a run."""
  if known.config.pipeline == "resident":
    data = run_data.load(known, data_dir)
    image, ids = data.train.image, data.train.id
  else:
    opened = stream_data.open_data(known, data_dir)
    data, parts = opened.known, []
    for batch in loader.iterate(stream_data.clean(opened, "train", known)):
      parts.append(batch.examples.image[batch.mask])
    image, ids = np.concatenate(parts), data.train.id
  return example.center_crop(image, data.image_size), ids, data


@pytest.fixture
def images(config, request):
  """images(pipeline, field=value, ...): what a model sees."""

  def found(pipeline, folder="data_dir", **fields):
    config.update({"pipeline": pipeline, "train_examples": 0, **fields})
    known = settings.resolve(config)
    return _seen(known, request.getfixturevalue(folder))

  return found


@pytest.mark.parametrize(
  "fields",
  [
    dict(framing="crop", image_size=6),
    dict(framing="crop", image_size=0),
    dict(framing="resize", image_size=12, central_fraction=1.0),
    dict(framing="resize", image_size=5),
    dict(image_size=0),
    dict(image_size=0, corruptions=("gaussian()",)),
    dict(framing="resize", image_size=6, corruptions=("shuffled_pixels()",)),
    dict(framing="resize", image_size=9, corruptions=("gaussian()",)),
  ],
  ids=str,
)
def test_both_pipelines_see_the_same_pixels(fields, images):
  here, there = (images(p, **fields) for p in ("resident", "stream"))
  for one, other in zip(here[:2], there[:2], strict=True):
    np.testing.assert_array_equal(one, other)
  side = fields["image_size"] or 8
  assert here[0].shape[1:3] == (side, side)
  assert here[2].sizes == there[2].sizes
  assert here[2].info.shape == there[2].info.shape


def test_photos_of_several_sizes_are_the_same_in_memory(images):
  fields = dict(dataset="mixed", test_split="validation", framing="resize")
  fields |= dict(image_size=16, eval_batch_size=4)
  here, there = (images(p, "mixed", **fields) for p in ("resident", "stream"))
  np.testing.assert_array_equal(here[0], there[0])
  np.testing.assert_array_equal(here[2].test.label, there[2].test.label)
  assert here[2].sizes["pixels_stored"] is None


def test_a_crop_is_no_resize(images):
  cropped = images("resident", framing="crop", image_size=6)
  resized = images("resident", framing="resize", image_size=6)
  assert (cropped[0] != resized[0][..., :1]).mean() > 0.1


@pytest.mark.parametrize("pipeline", ["resident", "stream"])
def test_the_whole_image_is_the_default(pipeline, images):
  assert base.get_config().image_size == 0
  whole, _, data = images(pipeline, image_size=0)
  assert whole.shape[1:3] == data.stored == (8, 8)


def test_images_that_are_no_squares_are_refused_with_the_cure(config, tmp_path):
  shape = dict(x=(20, 6, 9), y=(20,))
  stored = {
    f"{name}_{split}": np.arange(np.prod(size)).reshape(size) % 5
    for split in ("train", "test")
    for name, size in shape.items()
  }
  np.savez(
    tmp_path / "wide.npz", **{k: v.astype("uint8") for k, v in stored.items()}
  )
  source = arrays.source(str(tmp_path / "wide.npz"))
  writer.write("wide", source, str(tmp_path))
  config.update(dict(dataset="wide", image_size=0, train_examples=0))
  for pipeline in ("resident", "stream"):
    config.pipeline = pipeline
    with pytest.raises(errors.ConfigError, match=r"6x9 .*image_size=6 crops"):
      _seen(settings.resolve(config), str(tmp_path))
  config.image_size = 6
  known = settings.resolve(config)
  with config.unlocked():
    config.pipeline = "resident"
  assert _seen(known, str(tmp_path))[0].shape[1:] == (6, 6, 1)


@pytest.mark.parametrize("field", ["image_size", "central_fraction"])
def test_resizing_needs_to_know_to_what_and_of_what(field, config, data_dir):
  config.update({"framing": "resize", "image_size": 8, field: 0})
  for pipeline in ("resident", "stream"):
    config.pipeline = pipeline
    with pytest.raises(errors.ConfigError, match=f"needs config.{field}"):
      _seen(settings.resolve(config), data_dir)


def test_an_unknown_word_is_refused(config):
  config.framing = "scale"
  with pytest.raises(errors.ConfigError, match=r"framing must be .*crop"):
    settings.resolve(config)


def _fingerprint(config):
  return fingerprints.fingerprint(runner.resolve(config)[2].outcome)


def test_the_word_for_what_a_run_does_anyway_changes_no_fingerprint():
  for make, word, other in (
    (cifar10.get_config, "crop", "resize"),
    (imagenet.get_config, "resize", "crop"),
  ):
    config = make()
    config.framing = ""
    plain = _fingerprint(config)
    config.framing = word
    assert _fingerprint(config) == plain
    config.framing = other
    assert _fingerprint(config) != plain


@pytest.mark.parametrize(
  ("seen", "stored", "said"),
  [
    ([28, 28], [32, 32], ", sees 28x28 of 32x32 pixels"),
    ([32, 32], [32, 32], ""),
    ([16, 16], None, ", sees 16x16 pixels, resized"),
  ],
)
def test_the_start_says_what_a_run_sees(seen, stored, said):
  status = {"data": {"pixels_seen": seen, "pixels_stored": stored}}
  assert console.seen(status) == said


def test_methods_without_the_word_crop():
  assert not framing.resizes({"image_size": 3})
