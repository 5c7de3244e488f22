"""Keeps what Orbax, TensorStore and asyncio print about errors from the user.

When a save fails, its error reaches the run as an exception, which ends in one
sentence. The libraries print the same error several times more, with tracebacks
of their threads and of objects that they leave behind.
"""

import logging
import sys
import types
from collections.abc import Callable
from typing import Any

_LIBRARIES = ("/orbax/", "/asyncio/", "/tensorstore/")


def silence_libraries() -> None:
  """Drops tracebacks that lie in those libraries alone, and their log lines."""
  from absl import logging as absl_logging

  logging.getLogger("asyncio").setLevel(logging.CRITICAL)
  absl_logging.get_absl_logger().addFilter(_is_for_the_user)
  sys.excepthook = _filtered(sys.excepthook)
  sys.unraisablehook = _filtered_unraisable(sys.unraisablehook)


def _is_for_the_user(record: logging.LogRecord) -> bool:
  return record.levelno >= logging.CRITICAL or not _of_library(record.pathname)


def _filtered(show: Callable[..., Any]) -> Callable[..., Any]:
  # Also called for exceptions in threads that Python has not started.
  def hook(kind: Any, error: Any, traceback: Any) -> None:
    if not _lies_in_libraries(traceback):
      show(kind, error, traceback)

  return hook


def _filtered_unraisable(show: Callable[..., Any]) -> Callable[..., Any]:
  def hook(found: Any) -> None:
    code = getattr(found.object, "cr_code", None)
    theirs = code is not None and _of_library(code.co_filename)
    if not theirs and not _lies_in_libraries(found.exc_traceback):
      show(found)

  return hook


def _lies_in_libraries(traceback: types.TracebackType | None) -> bool:
  files = []
  while traceback is not None:
    files.append(traceback.tb_frame.f_code.co_filename)
    traceback = traceback.tb_next
  return bool(files) and all(map(_of_library, files))


def _of_library(path: str) -> bool:
  return any(name in path for name in _LIBRARIES)
