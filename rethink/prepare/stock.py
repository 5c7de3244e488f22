"""Prepares any other image classification that TFDS has a builder for.

TFDS's own ("stock") builders need TensorFlow, which the extra `prepare`
installs.
"""

import importlib.util
import pathlib

from rethink import errors
from rethink.prepare import exclusive, writer


def prepare(name: str, data_dir: str, directory: str | None) -> pathlib.Path:
  """Runs TFDS's builder unless its data set exists; returns the folder.

  Args:
    name: "name" or "name/config" in TFDS.
    data_dir: folder of the prepared data sets.
    directory: folder with archives that cannot, or need not, be downloaded.

  Raises:
    ConfigError: if TFDS has no such builder.
    DataError: if TensorFlow is missing or the builder fails.
  """
  import tensorflow_datasets as tfds

  try:
    tfds.builder_cls(name.partition("/")[0])
  except tfds.core.DatasetNotFoundError:
    raise errors.ConfigError(
      f"{name!r} is no data set that TFDS has a builder for; correct the name,"
      " or give your own data by --folder=DIR or --npz=FILE"
    ) from None
  if importlib.util.find_spec("tensorflow") is None:
    raise errors.DataError(
      f"the stock builder of {name!r} needs TensorFlow, which the extra"
      " 'prepare' of this package installs: pip install -c constraints.txt -e"
      " '.[prepare]'"
    )
  with exclusive.one_preparer(name, data_dir):
    try:
      builder = tfds.builder(
        name,
        data_dir=str(pathlib.Path(data_dir).expanduser()),
        file_format="array_record",
      )
      folder = pathlib.Path(builder.data_path)
      writer.remove_incomplete(folder.parent, folder.name)
      builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
          manual_dir=directory, try_download_gcs=False
        )
      )
    except Exception as error:  # TFDS's builders raise exceptions of all kinds
      raise errors.DataError(
        f"the stock builder of {name!r} failed: {error}"
      ) from error
  return folder
