"""A report writes, replaces, keeps and refuses files."""

import csv
import errno
import io
import os
import pathlib
import shutil

import pytest

from configs import memorize, table1_cifar10
from rethink import cli, console, errors, experiments
from rethink.console import plain_tables
from rethink.report import (
  __main__ as report_main,
)
from rethink.report import (
  archive,
  examples,
  output,
  pages,
  results,
  sources,
  spreadsheets,
)
from tests import report_runs
from tests.conftest import ROOT, python
from tests.report_runs import row

_NAME = "mlp_1x512/random/none/seed0"
_OTHER = "mlp_1x512/true/none/seed0"
_SOURCE = sources.from_flag(table1_cifar10.__file__)
_SOURCE = _SOURCE._replace(report=_SOURCE.report._replace(figures=()))


def _found(root: pathlib.Path) -> results.Results:
  return results.Results(_SOURCE, root)


def _files(folder: pathlib.Path) -> dict[str, bytes]:
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob("*")
    if path.is_file()
  }


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
  root = tmp_path_factory.mktemp("made")
  for name in (_NAME, _OTHER):
    run = report_runs.write(root, table1_cifar10, name)
    run.log_curve("a", x=[1.0])
    (run.workdir / "checkpoints/7").mkdir(parents=True)
    (run.workdir / "checkpoints/7/state").write_text("weights")
  return root


@pytest.fixture
def root(made, tmp_path) -> pathlib.Path:
  return pathlib.Path(shutil.copytree(made, tmp_path / "runs"))


# --keep


def test_states_in_a_backup_and_files_of_the_users_own_stay(root, tmp_path):
  kept = tmp_path / "backup"
  shutil.copytree(root, kept)
  (kept / "table1_cifar10" / _NAME / "mine.txt").write_text("mine")
  before = _files(kept)
  assert archive.keep([_found(root)], kept) == 2
  after = _files(kept)
  assert set(after) == set(before)
  changed = {name for name in after if after[name] != before[name]}
  assert {pathlib.Path(name).name for name in changed} == {"status.json"}


@pytest.mark.parametrize("link", ["table1_cifar10", f"table1_cifar10/{_NAME}"])
def test_a_link_to_the_runs_is_refused_and_loses_nothing(root, tmp_path, link):
  kept = tmp_path / "kept"
  (kept / link).parent.mkdir(parents=True)
  (kept / link).symlink_to(root / link)
  before = _files(root)
  with pytest.raises(errors.ConfigError, match="is a link to the run"):
    archive.keep([_found(root)], kept)
  assert _files(root) == before


@pytest.mark.parametrize("inside", ["kept", "table1_cifar10/x", "../"])
def test_copies_do_not_lie_among_the_runs(root, inside):
  before = _files(root)
  with pytest.raises(errors.ConfigError, match="lie in each other"):
    archive.keep([_found(root)], root / inside)
  assert _files(root) == before


def test_the_record_of_another_runs_states_is_not_replaced(root, tmp_path):
  kept = tmp_path / "backup"
  report_runs.write(kept, table1_cifar10, _NAME, batch_size=7)
  assert archive.keep([_found(root)], kept) == 2  # a mere copy may be replaced
  shutil.rmtree(kept)
  run = report_runs.write(kept, table1_cifar10, _NAME, batch_size=9)
  (run.workdir / "checkpoints").mkdir()
  before = _files(kept)
  with pytest.raises(errors.ConfigError, match="states of another run"):
    archive.keep([_found(root)], kept)
  assert _files(kept) == before


def test_files_of_another_program_are_not_replaced(root, tmp_path):
  folder = tmp_path / "kept/table1_cifar10" / _NAME
  folder.mkdir(parents=True)
  (folder / "config.json").write_text('{"hidden_size": 768}')
  before = _files(tmp_path / "kept")
  with pytest.raises(errors.ConfigError, match="of other programs"):
    archive.keep([_found(root)], tmp_path / "kept")
  assert _files(tmp_path / "kept") == before


@pytest.mark.parametrize("nth", [0, 2, 5, 7, 8])
def test_a_full_disk_costs_no_record(root, tmp_path, monkeypatch, nth):
  kept = tmp_path / "kept"
  archive.keep([_found(root)], kept)
  before = _files(kept)
  shutil.rmtree(root / "table1_cifar10" / _NAME)
  rows = [row(1, test=0.1), row(2)]
  report_runs.write(root, table1_cifar10, _NAME, rows).log_curve("a", x=[1.0])
  left = [nth]
  write = pathlib.Path.write_bytes

  def full(path, data):
    left[0] -= 1
    if left[0] < 0:
      write(path, data[: len(data) // 2])
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(path, data)

  monkeypatch.setattr(pathlib.Path, "write_bytes", full)
  if nth < 8:  # four files of two runs
    with pytest.raises(errors.ConfigError, match="cannot be written: No space"):
      archive.keep([_found(root)], kept)
  else:
    archive.keep([_found(root)], kept)
  after = _files(kept)
  assert set(after) == set(before)
  for name in (_NAME, _OTHER):  # a record is the old one or the new one
    folder = f"table1_cifar10/{name}/"
    records = {k: v for k, v in after.items() if k.startswith(folder)}
    assert all(
      records[k] == before[k] or (name == _NAME and nth >= 4) for k in records
    )
    assert not _found(kept).group(name.rpartition("/")[0]).damaged


# --out


def _report(root, out, replace=False, source=_SOURCE):
  section = pages.build_section(results.Results(source, root))
  pages.write([section], out, replace)


def test_a_report_that_knows_less_replaces_none_unasked(root, tmp_path):
  out = tmp_path / "out"
  _report(root, out)
  _report(root, out)  # as much
  shutil.rmtree(root / "table1_cifar10" / _OTHER)
  before = _files(out)
  for name in ("index.html", "table1_cifar10.json"):
    with pytest.raises(errors.ConfigError, match=f"of 1 runs.*{_OTHER}.*--rep"):
      _report(root, out)
    assert _files(out) == before
    (out / name).unlink()  # each of the two files is enough
    before.pop(name)
    if name == "index.html":
      (out / name).write_bytes(b"")
      (out / name).unlink()
  _report(root, out)  # nothing is there that knows more


def test_replacing_is_done_when_asked(root, tmp_path):
  _report(root, tmp_path)
  shutil.rmtree(root / "table1_cifar10" / _OTHER)
  _report(root, tmp_path, replace=True)
  known = output.known_runs(tmp_path, ["table1_cifar10"])
  assert known == {"table1_cifar10": {_NAME}}


def test_a_page_of_other_experiments_is_not_replaced(root, tmp_path):
  _report(root, tmp_path / "out")
  report_runs.write(root, memorize, "random/epochs30/seed0")
  source = sources.from_flag(memorize.__file__)
  source = source._replace(report=source.report._replace(figures=()))
  with pytest.raises(errors.ConfigError, match="report of 2 runs"):
    _report(root, tmp_path / "out", source=source)
  assert report_main._default_folder([]) == "runs/reports/"
  both = report_main._default_folder([source, _SOURCE])
  assert both == "runs/reports/memorize+table1_cifar10"


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("index.html", b"<title>My home page</title>"),
    ("index.html", b"\xff\xfe"),
    ("table1_cifar10.json", b"[1]"),
    ("table1_cifar10.json", b'{"experiment": "table1_cifar10"}'),
  ],
)
@pytest.mark.parametrize("replace", [False, True])
def test_a_file_of_somebody_else_is_never_replaced(
  root, tmp_path, name, content, replace
):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(errors.ConfigError, match=f"{name} is not of a report"):
    _report(root, tmp_path, replace)
  assert (tmp_path / name).read_bytes() == content


def test_the_committed_page_and_files_know_their_runs():
  folder = ROOT / "reports"
  page = output.known_runs(folder, [])
  assert len(page) == len(list(folder.glob("*.json")))
  both = output.known_runs(folder, page)
  assert both == page  # the page shows all runs of the tables, and more
  assert sum(map(len, page.values())) > 150


# Texts of runs and data


def test_a_spreadsheet_computes_no_cell(root):
  evil = ("=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1")
  rows = [evil, (-1.5, 7, True, None, "a=b", "1-2")]
  quoted, plain = csv.reader(io.StringIO(spreadsheets.rows_text(rows)))
  assert quoted == [f"'{text}" for text in (*evil[:-1], "\n=1")]
  assert plain == ["-1.5", "7", "True", "", "a=b", "1-2"]
  run = report_runs.write(root, table1_cifar10, _NAME)
  run.update(host="=cmd|' /C calc'!A0", commit="@SUM(1)")
  made = spreadsheets.csv_text("x", pages.build_section(_found(root)).tables)
  lines = [one for one in csv.DictReader(io.StringIO(made)) if one["mean"]]
  assert {"'=cmd|' /C calc'!A0"} < {one["device"] for one in lines}
  assert all(one["commit"][0] in "'0" for one in lines)
  assert {float(one["difference"] or 0) for one in lines} > {0.0}


def test_texts_do_not_break_markdown(root):
  run = report_runs.write(root, table1_cifar10, _NAME)
  run.update(host="a|b\n\n# c <img src=x>")
  text = pages.markdown(pages.build_section(_found(root)))
  assert r"a\|b # c \<img src=x>" in text and "\n# c" not in text
  header, _, *rows = [x for x in text.splitlines() if x.startswith("|")]
  bars = {line.replace(r"\|", "").count("|") for line in (header, *rows)}
  assert len(bars) == 1
  page = pages.html([pages.build_section(_found(root))])
  assert "<img src=x>" not in page and "&lt;img src=x&gt;" in page


def test_examples_that_cannot_be_written_are_one_sentence(root, tmp_path):
  with pytest.raises(
    errors.ConfigError, match=r"--export_examples=.*cannot be"
  ):
    examples.export(tmp_path / "none" / "x.csv", [_found(root)])
  folder = root / "table1_cifar10" / _NAME / "examples"
  folder.mkdir()
  (folder / "epochfoo.npz").write_bytes(b"")  # not ours
  (folder / "epoch0001.npz").write_bytes(b"")
  with pytest.raises(errors.ConfigError, match="examples"):
    examples.export(tmp_path / "x.csv", [_found(root)])
  assert not list(tmp_path.glob("*.csv")) and not list(tmp_path.glob(".*"))


# Names


@pytest.mark.parametrize(
  "name", ["../evil", "/abs", "a/../../x", "a//b", "", "a/", ".", r"a\..\b"]
)
def test_names_that_leave_their_folder_are_refused(tmp_path, monkeypatch, name):
  path = tmp_path / "own.py"
  path.write_text(f"RUNS = {{'a/b': {{}}, {name!r}: {{}}}}\n")
  with pytest.raises(errors.ConfigError, match="the run name"):
    experiments.load_module(path)
  path.write_text("def get_config(run): pass\n")  # it has no RUNS to compare
  monkeypatch.setattr(cli, "config_name", lambda: ("own", name))
  monkeypatch.setattr(cli, "_module", lambda: experiments.load_module(path))
  if name:
    with pytest.raises(errors.ConfigError, match="the run name"):
      cli.run_name()
  report = table1_cifar10.REPORT
  plot = experiments.Curves(name, "", "", ())
  monkeypatch.setattr(
    table1_cifar10, "REPORT", report._replace(figures=(plot,))
  )
  with pytest.raises(errors.ConfigError, match="the figure's name"):
    sources._source("x", table1_cifar10, smoke=False)


# What a process inherits


def test_any_backend_and_an_ascii_locale_will_do(root, tmp_path):
  done = python(
    *("-m", "rethink.report", f"--runs={root}", f"--out={tmp_path / 'out'}"),
    MPLBACKEND="module://matplotlib_inline.backend_inline",
    LC_ALL="C",
    PYTHONCOERCECLOCALE="0",
    PYTHONUTF8="0",
  )
  assert done.returncode == 0 and not done.stderr, done.stderr
  assert r"MLP 1\xd7512: yes, it memorizes" in done.stdout
  page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
  assert "MLP 1×512" in page


def test_a_figure_leaves_the_backend_of_its_process_alone():
  import matplotlib as mpl

  from rethink.report import style

  known = dict.__getitem__(mpl.rcParams, "backend")
  dict.__setitem__(mpl.rcParams, "backend", "template")
  try:
    with style.context("x"):
      pass
    assert dict.__getitem__(mpl.rcParams, "backend") == "template"
  finally:
    dict.__setitem__(mpl.rcParams, "backend", known)


# Tables on a terminal


def test_a_table_that_is_too_wide_breaks_its_heads():
  name = "smoke/inception/random/crop_flip/seed0"
  body = [
    name,
    "1,649,402",
    "50,000",
    "90.0%",
    "100",
    "23",
    "98.34%",
    "9|%",
    "",
  ]
  text = plain_tables.table(console._HEADER, [body])
  assert plain_tables.fitted(text) == text  # no terminal
  assert plain_tables.fitted(text, 400) == text
  lines = plain_tables.fitted(text, 130).splitlines()
  assert len({len(line) for line in lines}) == 1 and len(lines[0]) <= 130
  assert len(text.splitlines()[0]) > 130
  assert lines[0].split("|")[4].strip() == "labels"
  assert lines[1].split("|")[4].strip() == "changed"
  assert lines[2].startswith("|---") and r"9\|%" in lines[3]
