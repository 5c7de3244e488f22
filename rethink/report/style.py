"""How figures look: in print, for the color-blind, on light and dark pages."""

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib import figure

INK, GRID, PAPER_WHITE = "#333333", "#dddddd", "#ffffff"
# Okabe and Ito's palette, which color-blind people can tell apart; each color
# with the one that stands for it on a dark page.
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
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # for prints without color
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
  "svg.fonttype": "none",  # text stays text
}


def look(i: int) -> dict[str, str]:
  """Color and marker of line i; the pairs of 42 lines differ."""
  return {
    "color": _COLORS[i % len(_COLORS)],
    "marker": _MARKERS[i % len(_MARKERS)],
  }


def context(key: str):
  """Matplotlib's settings for one figure; `key` makes its ids reproducible."""
  return mpl.rc_context({**mpl.rcParamsDefault, **_RC, "svg.hashsalt": key})


def new() -> figure.Figure:
  """An empty figure, as wide as a page's text."""
  return figure.Figure(figsize=(6.8, 4.0), layout="constrained")


def svg(drawn: figure.Figure) -> str:
  """The figure as SVG; its colors follow the reader's light or dark mode."""
  content = io.StringIO()
  nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
  drawn.savefig(content, format="svg", metadata=nothing)
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
  """The figure as PNG, on white, 200 dots per inch."""
  content = io.BytesIO()
  drawn.savefig(content, format="png", dpi=200, metadata={"Software": None})
  return content.getvalue()
