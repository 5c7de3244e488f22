"""Files of a report: figures, and a page that needs nothing but a browser."""

import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest

from configs import fig1_randomization, fig2_implicit, table1_cifar10
from rethink.report import style
from tests import report_runs
from tests.conftest import ROOT, python
from tests.report_runs import row

_CHROMIUM = next(
  filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))),
  None,
)


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory) -> pathlib.Path:
  """Some runs of three experiments, full-size and small."""
  root = tmp_path_factory.mktemp("runs")

  def write(module, name, fit, **kwargs):
    rows = [
      row(e, 2.3 * 0.8 ** (30 * e / fit), e / 40, 0.5 + 0.005 * e)
      for e in range(1, 41)
    ]
    return report_runs.write(root, module, name, rows, **kwargs)

  for seed in range(2):
    write(table1_cifar10, f"mlp_1x512/true/none/seed{seed}", 10)
    write(fig1_randomization, f"inception/p0.0/seed{seed}", 10 + seed)
    write(fig1_randomization, f"inception/p1.0/seed{seed}", 36 + seed)
  rows = [
    row(
      epoch,
      **{
        "train/accuracy_on_clean": epoch / 40,
        "train/accuracy_on_corrupted": epoch / 80,
      },
    )
    for epoch in range(1, 41)
  ]
  name = "inception/p0.5/seed0"
  report_runs.write(root, fig1_randomization, name, rows)
  write(fig2_implicit, "inception/seed0", 10)
  write(fig2_implicit, "smoke/inception/seed0", 10, images=500)
  return root


@pytest.fixture(scope="module")
def out(runs_dir, tmp_path_factory) -> pathlib.Path:
  """The report of these runs, made as a user would."""
  folder = tmp_path_factory.mktemp("report")
  done = python("-m", "rethink.report", f"--runs={runs_dir}", f"--out={folder}")
  assert done.returncode == 0 and not done.stderr, done.stderr
  return folder


def test_every_experiment_has_its_files(out):
  names = {path.name for path in out.iterdir()}
  for name in (
    "table1_cifar10",
    "fig1_randomization",
    "fig2_implicit",
    "fig2_implicit-smoke",
  ):
    assert {f"{name}.md", f"{name}.csv", f"{name}.json"} <= names
    for figure in json.loads((out / f"{name}.json").read_text())["figures"]:
      assert figure["file"] in names
      assert figure["file"].replace(".svg", ".png") in names
  for stem in ("1a-learning-curves", "1b-time-to-fit", "examples-inception"):
    assert f"fig1_randomization-{stem}.svg" in names


def test_figures_parse_and_carry_no_date(out):
  drawn = sorted(out.glob("*.svg"))
  assert len(drawn) >= 6
  for path in drawn:
    root = ElementTree.parse(path).getroot()
    assert root.tag.endswith("svg") and root.get("viewBox")
    text = "".join(root.itertext())
    assert "epoch" in text or "probability" in text
    assert not re.search(r"\d{4}-\d{2}-\d{2}", path.read_text())
    with PIL.Image.open(path.with_suffix(".png")) as image:
      image.load()
      assert image.width > 1000


def test_the_papers_lines_are_drawn_only_at_its_scale(out):
  captions = {
    figure["file"]: figure["caption"]
    for path in out.glob("*.json")
    for figure in json.loads(path.read_text())["figures"]
  }
  for name, caption in captions.items():
    legend = ">paper<" in (out / name).read_text()
    assert legend == ("dashed lines are the paper's" in caption)
  assert "left out" in captions["fig2_implicit-smoke-2b-implicit.svg"]
  full = captions["fig1_randomization-1a-learning-curves.svg"]
  assert "dashed" in full and "Missing: shuffled pixels" in full


def test_every_color_has_one_for_dark_pages(out):
  looks = [style.look(i) for i in range(42)]
  assert len({(look["color"], look["marker"]) for look in looks}) == 42
  for kind in ("color", "marker"):
    assert len({look[kind] for look in looks[:6]}) == 6
  for path in out.glob("*.svg"):
    text = path.read_text()
    light = re.sub(r"<style>@media.*?</style>", "", text, count=1)
    used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", light))
    assert used
    for color in used:
      assert f'[style*="stroke: {color}"]' in text, (path.name, color)


def test_the_same_runs_give_the_same_bytes(runs_dir, out, tmp_path):
  done = python(
    "-m",
    "rethink.report",
    f"--runs={runs_dir}",
    f"--out={tmp_path}",
    PYTHONHASHSEED="1",
  )
  assert done.returncode == 0, done.stderr
  assert {p.name for p in tmp_path.iterdir()} == {p.name for p in out.iterdir()}
  for path in out.iterdir():
    assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_chosen_experiments_by_comma_and_by_repeated_flag(runs_dir, tmp_path):
  done = python(
    "-m",
    "rethink.report",
    "--config=configs/fig2_implicit.py:smoke,configs/fig2_implicit.py",
    "--config=configs/table1_cifar10.py",
    f"--runs={runs_dir}",
    f"--out={tmp_path}",
  )
  assert done.returncode == 0, done.stderr
  page = (tmp_path / "index.html").read_text()
  found = re.findall(r'<section id="(.*?)"', page)
  assert found == ["fig2_implicit-smoke", "fig2_implicit", "table1_cifar10"]


class _Page(html.parser.HTMLParser):
  """Checks that elements are closed in order, and collects links."""

  _VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})

  def __init__(self, text: str):
    super().__init__()
    self.open, self.links, self.tags, self.ids = [], [], [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    if tag not in self._VOID:
      self.open.append(tag)
    for name, value in attrs:
      if name in ("src", "href", "srcset", "action"):
        self.links.append(value)
      if name == "id":
        self.ids.append(value)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def test_the_page_parses_and_is_self_contained(out):
  page = _Page((out / "index.html").read_text())
  assert page.open == []
  assert len(page.ids) == len(set(page.ids)) == 4
  assert "script" not in page.tags and "link" not in page.tags
  for link in page.links:
    assert link.startswith(("data:image/svg+xml;base64,", "#")), link[:80]
  assert page.tags.count("img") >= 6


def test_the_page_and_the_markdown_say_the_same_numbers(out):
  page = (out / "index.html").read_text()
  text = (out / "table1_cifar10.md").read_text()
  for number in ("70.00 ± 0.00", "50.51", "2 of 2", "0 of 2", "0123456"):
    assert number in page and number in text
  assert str(out) not in page and "/tmp" not in text


def _browse(page: pathlib.Path, *args: str) -> subprocess.CompletedProcess[str]:
  assert _CHROMIUM
  return subprocess.run(
    [
      _CHROMIUM,
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--enable-logging=stderr",
      f"--user-data-dir={page.parent / 'profile'}",
      *args,
      page.as_uri(),
    ],
    capture_output=True,
    text=True,
    timeout=120,
  )


_PROBE = """<script>
addEventListener("load", () => {
  const images = [...document.images];
  document.body.dataset.found = JSON.stringify({
    loaded: images.filter((i) => i.complete && i.naturalWidth > 300).length,
    images: images.length,
    tables: document.querySelectorAll("table").length,
    sections: document.querySelectorAll("section").length,
    fits: document.documentElement.scrollWidth <= innerWidth,
    color: getComputedStyle(document.body).backgroundColor,
  });
});
</script></body>"""


def _check_in_browser(folder, tmp_path, width=1280, dark=False):
  """Opens a page and looks for errors; what it counted, and a screenshot."""
  page = tmp_path / "index.html"
  text = (folder / "index.html").read_text()
  page.write_text(text.replace("</body>", _PROBE))
  window = [f"--window-size={width},1000"]
  if dark:
    window.append("--blink-settings=preferredColorScheme=0")
  done = _browse(page, *window, "--dump-dom")
  assert "CONSOLE" not in done.stderr, done.stderr
  match = re.search(r'data-found="(.*?)"', done.stdout)
  assert match, done.stderr
  found = json.loads(html.unescape(match[1]))
  assert found["images"] == found["loaded"] == text.count("<img ") >= 6
  assert found["tables"] == text.count("<table>") >= 2
  assert found["sections"] == len(list(folder.glob("*.json")))
  assert found["fits"]
  assert found["color"] == ("rgb(22, 25, 29)" if dark else "rgb(255, 255, 255)")
  shot = tmp_path / "page.png"
  _browse(page, *window, f"--screenshot={shot}")
  return found, shot


@pytest.mark.skipif(not _CHROMIUM, reason="no chromium binary on the PATH")
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_tables_and_figures_without_errors(
  out, tmp_path, width, dark
):
  found, shot = _check_in_browser(out, tmp_path, width, dark)
  assert found["sections"] == 4
  with PIL.Image.open(shot) as image:
    pixels = np.asarray(image.convert("L"), float)
  assert pixels.shape[1] >= width and pixels.std() > 10
  assert (pixels.mean() < 100) == dark


@pytest.mark.skipif(not _CHROMIUM, reason="no chromium binary on the PATH")
def test_the_committed_page_opens(tmp_path):
  _, shot = _check_in_browser(ROOT / "reports", tmp_path)
  # RETHINK_SCREENSHOT=docs/report.png keeps the one that README shows.
  if "RETHINK_SCREENSHOT" in os.environ:
    shutil.copy(shot, ROOT / os.environ["RETHINK_SCREENSHOT"])


@pytest.mark.skipif(not _CHROMIUM, reason="no chromium binary on the PATH")
def test_the_check_of_the_browser_sees_an_error(tmp_path):
  page = tmp_path / "index.html"
  page.write_text("<body><script>no_such_function()</script></body>")
  assert "CONSOLE" in _browse(page, "--dump-dom").stderr
