"""Look of the figures: for print, color blindness, light and dark pages."""

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib import figure

INK, GRID, PAPER_WHITE = "#333333", "#dddddd", "#ffffff"
# Okabe and Ito's palette, which color-blind people can tell apart. Each color
# maps to its replacement on a dark page.
_DARK = {
  "#0072b2": "#5bb8f5",
  "#d55e00": "#ff8a3d",
  "#009e73": "#2fd3a2",
  "#cc79a7": "#e59bc4",
  "#000000": "#f0f0f0",
  "#e69f00": "#ffc247",
  INK: "#d0d4d9",
  GRID: "#3a4048",
  PAPER_WHITE: "#16191d",
}
_COLORS = tuple(_DARK)[:6]
_MARKERS = (
  "o",
  "s",
  "^",
  "D",
  "v",
  "P",
  "X",
)  # tell lines apart in black-and-white print
PAPER: dict[str, Any] = dict(
  linestyle=(0, (4, 2)), linewidth=0.9
)  # thin and dashed
SMALL: dict[str, Any] = dict(markerfacecolor="none", markersize=3.5)
CORRUPTED: dict[str, Any] = dict(linestyle=":", markerfacecolor="none")

_RC: dict[Any, Any] = {
  "font.family": "sans-serif",
  "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
  "font.size": 9.0,
  "text.color": INK,
  "axes.labelcolor": INK,
  "axes.edgecolor": INK,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.axisbelow": True,
  "axes.titlesize": 10.0,
  "axes.titlelocation": "left",
  "grid.color": GRID,
  "grid.linewidth": 0.6,
  "xtick.color": INK,
  "ytick.color": INK,
  "lines.linewidth": 1.6,
  "lines.markersize": 5.0,
  "legend.frameon": False,
  "svg.fonttype": "none",  # keep text as text, so that it can be searched
}


def look(i: int) -> dict[str, str]:
  """Returns color and marker of line i; the first 42 pairs differ."""
  return {
    "color": _COLORS[i % len(_COLORS)],
    "marker": _MARKERS[i % len(_MARKERS)],
  }


def context(key: str):
  """Returns a context with Matplotlib's settings for one figure.

  Args:
    key: seeds the ids in the SVG file, so that they are reproducible.
  """
  known = mpl.rcParamsDefault
  # The backend, which nothing here uses, is not given back by the context.
  plain: dict[Any, Any] = {
    name: known[name] for name in known if name != "backend"
  }
  return mpl.rc_context({**plain, **_RC, "svg.hashsalt": key})


def new() -> figure.Figure:
  """Returns an empty figure, as wide as the text of the page."""
  return figure.Figure(figsize=(6.8, 4.0), layout="constrained")


def svg(drawn: figure.Figure) -> str:
  """Renders the figure as SVG that follows the reader's light or dark mode."""
  content = io.StringIO()
  # A date or a version would make the committed files differ at each run.
  no_metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
  drawn.savefig(content, format="svg", metadata=no_metadata)
  rules = "".join(
    f'[style*="{part}: {light}"]{{{part}:{dark} !important}}'
    for light, dark in _DARK.items()
    for part in ("fill", "stroke")
  )
  style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
  text = re.sub(
    r"(<svg [^>]*>)", lambda m: m[1] + style, content.getvalue(), count=1
  )
  return "".join(line.rstrip() + "\n" for line in text.splitlines())


def png(drawn: figure.Figure) -> bytes:
  """Renders the figure as PNG on white, at 200 dots per inch."""
  content = io.BytesIO()
  drawn.savefig(content, format="png", dpi=200, metadata={"Software": None})
  return content.getvalue()
