"""Made-up data end in a data set of equal counts, or in one sentence."""

import collections
import functools
import io
import os
import pathlib
import tempfile

import hypothesis
import numpy as np
import PIL.Image
import pytest
from hypothesis import strategies as st

from rethink import errors
from rethink.pipeline import datasets, index
from rethink.prepare import arrays, folder, writer

_IMAGES = (".png", ".jpg", ".jpeg")


def _examples(n):
  """Settings for n examples that are the same in every run."""
  return hypothesis.settings(
    max_examples=n,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
  )


def _is_a_sentence(error):
  text = str(error)
  assert text and "Traceback" not in text and len(text) < 4000, text


def _counts(dataset_splits, names):
  return {
    split: dict(collections.Counter(names[i] for i in labels.tolist()))
    for split, labels in dataset_splits.items()
  }


# Arrays.


# What becomes of sound pixels uint8[n, h, w(, c)]; None leaves them.
_PIXELS = [
  *[None] * 12,
  *(lambda x, dtype=dtype: x.astype(dtype) for dtype in "bhHlefd?Uc"),
  lambda x: x / 255,
  lambda x: x / np.nan,
  lambda x: x - 3.0,
  lambda x: x.astype(np.uint16) * 257,
  lambda x: x // 99,
  lambda x: x.reshape(len(x), -1),
  lambda x: x[:, :0],
  lambda x: np.moveaxis(x, -1, 1),
  lambda x: np.repeat(x[..., None], 4, -1),
  lambda x: np.stack([x, x, x, np.full_like(x, 7)], -1),
]
# What becomes of sound labels 0..k-1; None leaves them.
_LABELS = [
  *[None] * 12,
  *(lambda y, dtype=dtype: y.astype(dtype) for dtype in "bBQd?"),
  lambda y: y[:, None],
  lambda y: y + 1,
  lambda y: y - 1,
  lambda y: y * 100,
  lambda y: y * 10**12,
  lambda y: y + 0.5,
  lambda y: y * np.nan,
  lambda y: (y - 1).astype(np.uint8),
  lambda y: (y - 10).astype(np.uint64),
  lambda y: np.eye(3, dtype=int)[y],
  lambda y: np.eye(3, dtype=np.float32)[y] / 2,
  lambda y: y.astype("U"),
  lambda y: np.array(["a", "é", "e\u0301"])[y],
  lambda y: np.array(["a ", "b", ""])[y],
  lambda y: y.astype("S"),
  lambda y: y[1:],
]


def _named(y):
  """The class name of each label, if these are taken at all."""
  if y.ndim == 2 and y.shape[1] > 1:
    y = y.argmax(1)
  y = y.reshape(-1)
  if y.dtype.kind == "U":
    return y.tolist()
  if y.dtype.kind == "S":
    return [x.decode() for x in y.tolist()]
  return [str(int(x)) for x in y.tolist()]


@st.composite
def _npz(draw):
  """(content of an .npz file, --remap_labels, --scale_16bit)."""
  size = st.integers(1, 5)
  n, m, k = draw(st.integers(3, 7)), draw(st.integers(1, 3)), draw(size) % 3 + 1
  channels = draw(st.sampled_from([(), (1,), (3,)]))
  shape = (n + m, draw(size), draw(size), *channels)
  x = np.random.default_rng(draw(size)).integers(0, 256, shape, np.uint8)
  label = st.integers(0, k - 1)
  test = draw(st.lists(label, min_size=m, max_size=m))
  y = np.array([*(i % k for i in range(n)), *test])
  change, relabel = (
    draw(st.sampled_from(_PIXELS)),
    draw(st.sampled_from(_LABELS)),
  )
  x, y = change(x) if change else x, relabel(y) if relabel else y
  content = {
    "x_train": x[:n],
    "y_train": y[:n],
    "x_test": x[n:],
    "y_test": y[n:],
  }
  return content, draw(st.booleans()), draw(st.booleans())


def _try_npz(case):
  content, remap, scale = case
  with tempfile.TemporaryDirectory() as root:
    path = f"{root}/a.npz"
    np.savez(path, **content)
    try:
      source = arrays.source(path, remap_labels=remap, scale_16bit=scale)
      writer.write("mine", source, root)
    except errors.RethinkError as error:
      _is_a_sentence(error)
      return False
    dataset = datasets.load("mine", root)
  info = dataset.info
  assert info.splits == {
    "train": len(content["x_train"]),
    "test": len(content["x_test"]),
  }
  found = _counts(
    {s: x.label for s, x in dataset.splits.items()}, info.class_names
  )
  for split in ("train", "test"):
    named = _named(content[f"y_{split}"])
    assert found[split] == dict(collections.Counter(named))
  # No class is without examples to learn from.
  assert set(dataset.splits["train"].label) == set(range(info.num_classes))
  return True


# Folders.


@functools.cache
def _file(kind):
  """The bytes of a file of a kind; None for what is no file."""
  rng = np.random.default_rng(0)
  rgb = rng.integers(0, 256, (5, 4, 3)).astype(np.uint8)
  made = {
    "rgb": rgb,
    "wide": rgb.swapaxes(0, 1),
    "grey": rgb[..., 0],
    "opaque": np.dstack([rgb, np.full((5, 4), 255, np.uint8)]),
    "alpha": np.dstack([rgb, rgb[..., 0]]),
    "deep": rgb[..., 0].astype(np.uint16) * 257,
  }
  if kind in made:
    buffer = io.BytesIO()
    PIL.Image.fromarray(made[kind]).save(buffer, "PNG")
    return buffer.getvalue()
  return {"empty": b"", "cut": b"\x89PNG\r\n\x1a\n" * 4}.get(kind)


_ODD_CLASSES = ["a ", "é", "e\u0301", "A", "a\nb", "a\x85b", ".x", "-", "01"]
_ODD_KINDS = ["grey", "wide", "opaque", "alpha", "deep", "empty", "cut"]
_NO_FILES = ["pipe", "link", "folder"]
# (split, class, file, kind) to add to a sound tree; None is an empty class.
_MORE = st.one_of(
  st.tuples(
    st.sampled_from(["train", "test", "more", "a split", ".x"]),
    st.one_of(
      st.sampled_from(["a", "b", "10", *_ODD_CLASSES]),
      st.text(alphabet="ab .\n\x85é-", min_size=1, max_size=2).filter(
        lambda name: name not in (".", "..")
      ),
    ),
    st.sampled_from(["x.png", "x.PNG", "x.jpg", ".x.png", "x.txt", "é.png"]),
    st.sampled_from(["rgb", "rgb", None]),
  ),
  st.tuples(
    st.just("train"),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["x.png", "x.jpeg", "x.txt"]),
    st.sampled_from([*_ODD_KINDS, *_NO_FILES]),
  ),
)


@st.composite
def _trees(draw):
  """Split -> class -> file -> kind: a sound tree, and up to two things more."""
  names = draw(st.sampled_from([("a", "b"), ("2", "10", "a"), ("2", "10")]))
  tree = {"train": {name: {"0.png": "rgb", "1.png": "rgb"} for name in names}}
  if draw(st.booleans()):
    tree["test"] = {names[0]: {"0.png": "rgb"}}
  for split, name, file, kind in draw(st.lists(_MORE, max_size=2)):
    files = tree.setdefault(split, {}).setdefault(name, {})
    if kind:
      files[file] = kind
  return tree


def _make(root, tree):
  for split, classes in tree.items():
    for name, files in classes.items():
      here = root / split / name
      here.mkdir(parents=True)
      for file, kind in files.items():
        content = _file(kind)
        if content is not None:
          (here / file).write_bytes(content)
        elif kind == "pipe":
          os.mkfifo(here / file)
        elif kind == "link":
          (here / file).symlink_to("nowhere")
        else:
          (here / file).mkdir()


def _expected(tree):
  """Number of images by split and class, hidden ones left out."""
  found = {}
  for split, classes in tree.items():
    for name, files in classes.items():
      images = [x for x in files if x[0] != "." and x.lower().endswith(_IMAGES)]
      if images and name[0] != ".":
        found.setdefault(split, {})[name] = len(images)
  return found


def _try_folder(tree, image_size, keep_sizes, scale):
  with tempfile.TemporaryDirectory() as name:
    root = pathlib.Path(name)
    _make(root / "images", tree)
    images = str(root / "images")
    try:
      if keep_sizes:
        folder.prepare(
          "mine", images, name, skip_damaged=False, scale_16bit=scale
        )
      else:
        source = folder.source(images, image_size, scale_16bit=scale)
        writer.write("mine", source, name)
    except errors.RethinkError as error:
      _is_a_sentence(error)
      assert not (root / "mine" / "1.0.0").exists()
      return False
    if keep_sizes:
      known = index.open_index("mine", name)
    else:
      known = datasets.load("mine", name)
  labels = {s: x.label for s, x in known.splits.items()}
  assert _counts(labels, known.info.class_names) == _expected(tree)
  assert set(labels["train"]) == set(range(known.info.num_classes))
  return True


_WAYS = st.sampled_from([(None, False), (4, False), (None, True)])


def _fuzz(n, one_npz, one_tree):
  """Runs n examples of each; of each, some have to be taken, some refused."""
  ended = collections.Counter()

  @_examples(n)
  @hypothesis.given(_npz())
  def npz(case):
    ended["npz", one_npz(case)] += 1

  @_examples(n)
  @hypothesis.given(_trees(), _WAYS, st.booleans())
  def tree(tree, way, scale):
    ended["tree", one_tree(tree, *way, scale)] += 1

  npz()
  tree()
  for kind in ("npz", "tree"):
    assert ended[kind, True] >= n // 10, ended
    assert ended[kind, False] >= n // 10, ended


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
  """Shards are written here, not in processes that take seconds to start."""
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})


def test_f68_made_up_data_end_in_a_data_set_or_in_one_sentence():
  _fuzz(25, _try_npz, _try_folder)


@pytest.mark.slow
def test_f68_much_made_up_data_end_in_a_data_set_or_in_one_sentence():
  _fuzz(250, _try_npz, _try_folder)
