"""Puts a data set on disk; nothing else in the package uses the network.

python -m rethink.prepare digits
python -m rethink.prepare cifar10      or cifar100, mnist, fashion_mnist
python -m rethink.prepare cifar10 --archives=DIR      official files, no network
python -m rethink.prepare imagenet2012 --archives=DIR   both official archives
python -m rethink.prepare my_images --folder=DIR      <split>/<class>/*.jpg|png
python -m rethink.prepare my_photos --folder=DIR --keep_sizes   photos of any
                                          size and number, stored unchanged
python -m rethink.prepare my_arrays --npz=FILE  x_train, y_train, x_test, y_test
                                          [--remap_labels] [--scale_16bit]
python -m rethink.prepare svhn_cropped    any builder of TFDS; needs .[prepare]
python -m rethink.prepare --check NAME    reads every record and reports damage
"""

import pathlib
import re
import sys

from absl import flags

from rethink import cli, errors

_ALLOW_UNSEEN_CLASSES = flags.DEFINE_bool(
  "allow_unseen_classes",
  False,
  "Accept classes of --folder or --npz that have no training images.",
)
_ARCHIVES = cli.define_path(
  "archives",
  None,
  "Folder with the official archives, used instead of downloads.",
)
_CHECK = flags.DEFINE_bool(
  "check", False, "Read every record of a prepared data set and report damage."
)
_DATA_DIR = cli.define_data_dir()
_FOLDER = cli.define_path(
  "folder", None, "Folder of your own images, <split>/<class>/*.jpg or *.png."
)
_IMAGE_SIZE = flags.DEFINE_integer(
  "resize",
  None,
  "Crop the images of --folder to their central square and resize it to this"
  " many pixels per side.",
  lower_bound=1,
)
flags.DEFINE_alias("image_size", "resize")  # its name in earlier versions
_KEEP_SIZES = flags.DEFINE_bool(
  "keep_sizes",
  False,
  "Store any number of photos from --folder unchanged, whatever their sizes.",
)
_NPZ = cli.define_path(
  "npz", None, "File with your own arrays x_train, y_train, x_test, y_test."
)
_REMAP_LABELS = flags.DEFINE_bool(
  "remap_labels",
  False,
  "Make classes of any whole numbers that --npz has as labels, in ascending"
  " order; the mapping is printed and recorded.",
)
_SCALE_16BIT = flags.DEFINE_bool(
  "scale_16bit",
  False,
  "Divide the pixels of 16-bit images of --folder or --npz by 257.",
)
_SKIP_DAMAGED = flags.DEFINE_bool(
  "skip_damaged",
  False,
  "With imagenet2012 or --keep_sizes, leave out images that cannot be decoded,"
  " and list them, instead of stopping.",
)
flags.adopt_module_key_flags(cli)  # so that --help shows them


def main(argv: list[str]) -> int:
  """Prepares one data set."""
  return cli.exit_code(lambda: _prepare(argv[1:]))


def _prepare(names: list[str]) -> None:
  own = _FOLDER.value or _NPZ.value
  # A TFDS builder may have a config, NAME/CONFIG; --check may give a version.
  pattern = r"[^\W\d]\w*" if own else r"[^\W\d]\w*(/\w[\w.-]*)?"
  pattern += r"(:\d+\.\d+\.\d+)?" if _CHECK.value else ""
  if len(names) != 1 or not re.fullmatch(pattern, names[0]):
    raise errors.ConfigError(
      "give one name for the data set, of letters, digits and underscores:"
      " python -m rethink.prepare NAME"
      " [--archives=DIR | --folder=DIR | --npz=FILE | --check]"
    )
  if _FOLDER.value and _NPZ.value:
    raise errors.ConfigError("give --folder or --npz, not both")
  if _ARCHIVES.value and (own or names[0] == "digits"):
    raise errors.ConfigError(
      "--archives is only for data sets that TFDS knows; leave it out"
    )
  if _CHECK.value and (own or _ARCHIVES.value):
    raise errors.ConfigError(
      "--check takes no other flag than --data_dir; leave out the others"
    )
  if (_IMAGE_SIZE.value or _KEEP_SIZES.value) and not _FOLDER.value:
    raise errors.ConfigError(
      "--resize and --keep_sizes need --folder, the images to store"
    )
  if _IMAGE_SIZE.value and _KEEP_SIZES.value:
    raise errors.ConfigError("give --resize or --keep_sizes, not both")
  if _REMAP_LABELS.value and not _NPZ.value:
    raise errors.ConfigError(
      "--remap_labels is for the labels of --npz; leave it out (the classes of"
      " --folder are the names of its folders)"
    )
  if (_SCALE_16BIT.value or _ALLOW_UNSEEN_CLASSES.value) and not own:
    raise errors.ConfigError(
      "--scale_16bit and --allow_unseen_classes need --folder or --npz, images"
      " of your own"
    )
  if _SKIP_DAMAGED.value and not (
    _KEEP_SIZES.value or (names[0] == "imagenet2012" and not own)
  ):
    raise errors.ConfigError(
      "--skip_damaged is only for imagenet2012 and --keep_sizes; for other data"
      " sets set config.skip_damaged in the run"
    )
  from rethink.prepare import check, details

  name, data_dir = names[0], cli.data_dir(_DATA_DIR.value)
  if not _CHECK.value:
    folder = _write(name, data_dir)
    print(folder)
    name = f"{folder.parent.relative_to(data_dir)}:{folder.name}"
  said = check.summary(name, data_dir)
  if not _CHECK.value:
    for line in details.lines(name, data_dir):
      # Names of classes need not be in the alphabet of the terminal.
      encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
      print(line.encode(encoding, "backslashreplace").decode(encoding))
  print(said)


def _write(name: str, data_dir: str) -> pathlib.Path:
  from rethink.prepare import (
    arrays,
    digits,
    folder,
    imagenet,
    official,
    stock,
    writer,
  )

  skip = _SKIP_DAMAGED.value
  options = {
    "scale_16bit": _SCALE_16BIT.value,
    "unseen_classes": _ALLOW_UNSEEN_CLASSES.value,
  }
  own = _FOLDER.value or _NPZ.value
  if own and name in (*official.CONTENT, imagenet.NAME, "digits"):
    raise errors.ConfigError(
      f"{name!r} is the name of an official data set, whose results reports"
      f" compare with the paper; choose another name for yours, such as"
      f" my_{name}"
    )
  if name == imagenet.NAME:
    return imagenet.prepare(data_dir, _ARCHIVES.value, skip_damaged=skip)
  if name in official.CONTENT:
    return official.prepare(name, data_dir, _ARCHIVES.value)
  if _FOLDER.value and _KEEP_SIZES.value:
    return folder.prepare(
      name, _FOLDER.value, data_dir, skip_damaged=skip, **options
    )
  if _FOLDER.value:
    source = folder.source(_FOLDER.value, _IMAGE_SIZE.value, **options)
  elif _NPZ.value:
    source = arrays.source(
      _NPZ.value, remap_labels=_REMAP_LABELS.value, **options
    )
  elif name == "digits":
    return writer.write(name, digits.source(), data_dir, keep=True)
  else:
    return stock.prepare(name, data_dir, _ARCHIVES.value)
  return writer.write(name, source, data_dir)


if __name__ == "__main__":
  cli.start(main, cli.parse_flags)
