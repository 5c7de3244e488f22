"""Says what a prepared data set holds: classes, counts, shapes."""

from collections.abc import Mapping

import numpy as np

from rethink.pipeline import datasets, index
from rethink.prepare import check, class_names

_SHOWN = 20  # classes that are listed


def lines(name: str, data_dir: str) -> list[str]:
  """Returns sentences about a data set that `check.summary` has found sound.

  Args:
    name: "name" (newest version) or "name:version".
    data_dir: folder that contains `name/version/`.
  """
  if check.of_several_sizes(name, data_dir):
    known = index.open_index(name, data_dir)
    labels = {split: x.label for split, x in known.splits.items()}
    said = [_classes(known.info.class_names, labels)]
    said.append(f"images: several sizes, {known.info.shape[-1]} channels")
    if not any(known.info.std):
      said.append(_CONSTANT)
    return said
  dataset = datasets.load(name, data_dir)
  labels = {split: x.label for split, x in dataset.splits.items()}
  height, width, channels = dataset.info.shape
  return [
    _classes(dataset.info.class_names, labels),
    f"images: {height}x{width} pixels, {channels}"
    f" channel{'s' if channels > 1 else ''}",
    *_constant({s: x.image for s, x in dataset.splits.items()}),
  ]


_CONSTANT = (
  "warning: all pixels of all images have one value, so that there is nothing"
  " to learn from"
)


def _classes(names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> str:
  first = sorted(labels, key=lambda split: (split != "train", split))
  counts = class_names.counted(names, {s: labels[s] for s in first})
  shown = [
    f"{name} {'/'.join(str(counts[split][name]) for split in counts)}"
    for name in names[:_SHOWN]
  ]
  if len(names) > _SHOWN:
    shown.append(f"and {len(names) - _SHOWN:,} more")
  said = f"classes: {len(names)} ({'/'.join(counts)}): {', '.join(shown)}"
  for split, found in counts.items():
    empty = [name for name in names if not found[name]]
    if empty:
      said += (
        f"; {len(empty)} without examples in {split}, such as {empty[0]!r}"
      )
  if len(names) == 1:
    said += "; with one class, there is nothing to learn"
  return said


def _constant(images: Mapping[str, np.ndarray]) -> list[str]:
  """Returns warnings about images without content, in any of the splits."""
  said = []
  for split, image in images.items():
    flat = image.reshape(len(image), -1, image.shape[-1])
    if (flat == flat[:1, :1]).all():
      said.append(f"{_CONSTANT} (split {split!r})")
      continue
    if flat.shape[1] > 1:
      plain = np.flatnonzero((flat == flat[:, :1]).all((1, 2)))
      if len(plain):
        said.append(
          f"warning: {len(plain):,} of {len(flat):,} images of split {split!r}"
          " have one single colour"
        )
  return said
