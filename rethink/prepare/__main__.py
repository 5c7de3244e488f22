"""Puts a data set on disk: `python -m rethink.prepare digits`.

python -m rethink.prepare digits
python -m rethink.prepare my_images --folder=DIR      <split>/<class>/*.jpg|png
python -m rethink.prepare my_arrays --npz=FILE        x_train y_train x_test ..
"""

from absl import app, flags

from rethink import entry, errors

_DATA_DIR = entry.define_data_dir()
_FOLDER = flags.DEFINE_string(
  "folder", None, "Folder of images, <split>/<class>/*.jpg|png."
)
_IMAGE_SIZE = flags.DEFINE_integer(
  "image_size",
  None,
  "Cut --folder images square and resize to N pixels.",
  lower_bound=1,
)
_NPZ = flags.DEFINE_string(
  "npz", None, "Arrays x_train, y_train, x_test, y_test."
)
flags.adopt_module_key_flags(entry)  # so that --help shows them


def main(argv: list[str]) -> int:
  """Prepares one data set."""
  return entry.exit_code(lambda: _prepare(argv[1:]))


def _prepare(names: list[str]) -> None:
  if len(names) != 1 or not names[0].isidentifier():
    raise errors.ConfigError(
      "give the data set one name, of letters, digits and underscores:"
      " python -m rethink.prepare NAME [--folder=DIR | --npz=FILE]"
    )
  if _FOLDER.value and _NPZ.value:
    raise errors.ConfigError("give --folder or --npz, not both")
  if _IMAGE_SIZE.value and not _FOLDER.value:
    raise errors.ConfigError("--image_size needs --folder")
  from rethink.prepare import arrays, digits, folder, writer

  name = names[0]
  if _FOLDER.value:
    source = folder.source(_FOLDER.value, _IMAGE_SIZE.value)
  elif _NPZ.value:
    source = arrays.source(_NPZ.value)
  elif name == "digits":
    source = digits.source()
  else:
    raise errors.ConfigError(
      f"{name!r} comes with no package; give --folder=DIR or --npz=FILE"
    )
  print(writer.write(name, source, entry.data_dir(_DATA_DIR.value)))


if __name__ == "__main__":
  app.run(main, flags_parser=entry.parse_flags)
