"""Reports: tables, figures and a page, made from run directories alone.

A report shows what training has logged and computes no result of its own; a
missing number is a dash. Nothing here imports JAX or training code, so that a
report can be made on any machine.
"""

import importlib
import os

# Matplotlib refuses to be imported if it does not know $MPLBACKEND, which child
# processes inherit from a notebook. Figures are drawn without any backend.
_inherited = os.environ.pop("MPLBACKEND", None)
importlib.import_module("matplotlib")
if _inherited is not None:
  os.environ["MPLBACKEND"] = _inherited
