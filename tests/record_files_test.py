"""Damaged record files: a result, or one sentence that names the file."""

import json
import os
import pathlib
import re
import shutil

import hypothesis
import pytest
from hypothesis import strategies as st

from rethink import console, errors
from rethink.storage import locks, manifests, runs, schema
from tests.conftest import ROOT
from tests.runs_test import RESULTS

_OLD = ROOT / "tests/data/run_2445fbb"
_STATE = "checkpoints/34/manifest.json"
_RECORDS = ("config.json", "status.json", "metrics.jsonl", "lock.json", _STATE)
_JSON = st.recursive(
  st.none()
  | st.booleans()
  | st.integers()
  | st.floats()
  | st.sampled_from(["", "../../x", "done", "é", 10**400, -1]),
  lambda inner: (
    st.lists(inner, max_size=2)
    | st.dictionaries(
      st.sampled_from(["a", "step", "train"]), inner, max_size=2
    )
  ),
  max_leaves=4,
)


def _leaves(value, path=()):
  """Paths of all values inside a JSON value."""
  if path:
    yield path
  inside = value.items() if isinstance(value, dict) else ()
  if isinstance(value, list):
    inside = enumerate(value)
  for key, one in inside:
    yield from _leaves(one, (*path, key))


@st.composite
def _mutated(draw, content: bytes) -> bytes:
  """A record file in which something is wrong, most likely."""
  kind = draw(st.sampled_from(["field", "drop", "cut", "byte", "lines", "all"]))
  if kind == "all":
    samples = [b"", b"[]", b"null", b"3", b"{}", b"\xff", b"[" * 9999, b"\n"]
    return draw(st.sampled_from(samples) | st.binary(max_size=20))
  if kind == "cut":
    return content[: draw(st.integers(0, len(content) - 1))]
  if kind == "byte":
    at = draw(st.integers(0, len(content) - 1))
    return content[:at] + draw(st.binary(max_size=2)) + content[at + 1 :]
  lines = content.decode().splitlines()
  one_each = all(line.startswith("{") and len(line) > 1 for line in lines)
  if kind == "lines":
    return "\n".join(draw(st.permutations(lines * 2))[: len(lines)]).encode()
  at = draw(st.integers(0, len(lines) - 1)) if one_each else 0
  value = json.loads(lines[at] if one_each else content)
  *path, last = draw(st.sampled_from(list(_leaves(value))))
  place = value
  for key in path:
    place = place[key]
  if kind == "drop":
    del place[last]
  else:
    place[last] = draw(_JSON)
  if one_each:
    lines[at] = json.dumps(value)
    return ("\n".join(lines) + "\n").encode()
  return json.dumps(value).encode()


def _lock() -> bytes:
  return locks.text(locks.this_process()).encode()


@st.composite
def _case(draw):
  """A run (done or not), the name of one of its files, its new content."""
  state = draw(st.sampled_from(["done", "preempted"]))
  name = draw(st.sampled_from(_RECORDS[: 5 if state == "preempted" else 4]))
  before = (
    _lock() if name == "lock.json" else (_OLD / state / name).read_bytes()
  )
  return state, name, draw(_mutated(before))


def _outcome() -> dict:
  return json.loads((_OLD / "done/config.json").read_text())["outcome"]


def _use(folder: pathlib.Path, name: str) -> None:
  """Does with a run directory all that reads this record file."""
  if name == "lock.json":
    with locks.acquire(folder) as lock:
      lock.check()
  elif name == _STATE:
    manifests.read(folder / _STATE.rpartition("/")[0])
  else:
    assert "| run" in console.results_table([("x", folder)])
    record = runs.read(folder)
    runs.Run(folder, _outcome(), {})
    assert all(row["step"] >= 0 for row in record.rows)


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
  """A copy of each old run, put right after each use."""
  folder = tmp_path_factory.mktemp("runs")
  shutil.copytree(_OLD, folder, dirs_exist_ok=True)
  return folder


def _survives(copies, monkeypatch, case) -> None:
  state, name, content = case
  monkeypatch.setattr(locks, "UNFINISHED_SECONDS", 0.01)
  monkeypatch.setattr(locks, "STALE_SECONDS", 0.01)
  path = copies / state / name
  before = path.read_bytes() if path.exists() else None
  path.write_bytes(content)
  try:
    _use(copies / state, name)
  except errors.RethinkError as error:
    assert re.search(r"run_\w+|runs\d*", str(error)), error
    assert "\n" not in str(error)
    assert name.rpartition("/")[2] in str(error) or "in use by" in str(error)
  finally:
    path.unlink(missing_ok=True)
    if before is not None:
      path.write_bytes(before)


_QUIET = [
  hypothesis.HealthCheck.function_scoped_fixture,
  hypothesis.HealthCheck.too_slow,
  hypothesis.HealthCheck.data_too_large,
]


@hypothesis.settings(
  max_examples=50,
  deadline=None,
  derandomize=True,
  database=None,
  suppress_health_check=_QUIET,
)
@hypothesis.given(case=_case())
def test_fifty_damaged_records_are_read_or_named(copies, monkeypatch, case):
  _survives(copies, monkeypatch, case)


@pytest.mark.slow
@hypothesis.settings(
  max_examples=500, deadline=None, database=None, suppress_health_check=_QUIET
)
@hypothesis.given(case=_case())
def test_five_hundred_damaged_records_are_read_or_named(
  copies, monkeypatch, case
):
  _survives(copies, monkeypatch, case)


@pytest.mark.parametrize("name", _RECORDS[:3])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff", b"[" * 99999])
def test_a_record_that_is_none_is_named(tmp_path, name, content):
  shutil.copytree(_OLD / "done", tmp_path / "run")
  path = tmp_path / "run" / name
  path.unlink()
  path.mkdir() if content is None else path.write_bytes(content)
  with pytest.raises(schema.RecordError, match=re.escape(name)):
    runs.read(tmp_path / "run")


@pytest.mark.parametrize(
  ("name", "change", "said"),
  [
    ("config.json", lambda x: x.pop("outcome"), "has no field 'outcome'"),
    ("config.json", lambda x: x["data"].pop("name"), "has no field 'name'"),
    (
      "config.json",
      lambda x: x["outcome"].update(seed=5),
      "fingerprint is not that of the outcome",
    ),
    ("status.json", lambda x: x.pop("parameters"), "no field 'parameters'"),
    (
      "status.json",
      lambda x: x.update(seconds="x"),
      "field 'seconds': expected float, got str",
    ),
    (
      "status.json",
      lambda x: x["data"].update(train=None),
      "field 'data.train': expected int, got null",
    ),
  ],
)
def test_the_field_that_does_not_fit_is_named(tmp_path, name, change, said):
  shutil.copytree(_OLD / "done", tmp_path / "run")
  path = tmp_path / "run" / name
  value = json.loads(path.read_text())
  change(value)
  path.write_text(json.dumps(value))
  with pytest.raises(schema.RecordError) as caught:
    runs.read(tmp_path / "run")
  assert name in str(caught.value) and said in str(caught.value)
  assert "delete this run directory and run it again" in str(caught.value)
  text = console.results_table([("a", tmp_path / "run"), ("b", _OLD / "done")])
  assert "| a (damaged) | -" in text and "| 610 " in text


@pytest.mark.parametrize(
  "row",
  ["null", "3", '{"epoch": 1}', '{"step": 1, "epoch": 1, "x": NaN}',
   '{"step": 1, "epoch": 1, "x": "y"}', '{"step": -1, "epoch": 1}',
   '{"step": 1, "epoch": 1, "x": 1e999}', '{"step": 1, "epoch": 1, "x": true}'],
)  # fmt: skip
def test_a_row_that_does_not_fit_is_named_by_its_line(tmp_path, row):
  (tmp_path / "metrics.jsonl").write_text(f'{{"step":0,"epoch":0}}\n{row}\n')
  with pytest.raises(schema.RecordError, match=r"metrics\.jsonl:2 "):
    runs.read(tmp_path)


def test_fields_that_a_newer_version_writes_are_kept(tmp_path):
  shutil.copytree(_OLD / "done", tmp_path / "run")
  for name in ("config.json", "status.json"):
    path = tmp_path / "run" / name
    path.write_text(json.dumps({**json.loads(path.read_text()), "new": [1]}))
  path = tmp_path / "run" / "metrics.jsonl"
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  path.write_text("".join(json.dumps({**r, "new/x": 1}) + "\n" for r in rows))
  record = runs.read(tmp_path / "run")
  assert record.config["new"] == record.status["new"] == [1]
  assert all(row["new/x"] == 1 for row in record.rows)


def _row(step, **more) -> str:
  row = {"step": step, "epoch": step, "train/loss": 1.0, "time/s": 1.0, **more}
  return json.dumps(row) + "\n"


def test_a_late_row_that_says_the_same_is_one_row(tmp_path):
  # Of a process that was frozen between its check of the lock and its append.
  late = _row(1, **{"time/s": 99.0})
  text = _row(1) + _row(3) + _row(2) + late
  (tmp_path / "metrics.jsonl").write_text(text)
  rows = runs.read(tmp_path).rows
  assert [row["step"] for row in rows] == [1, 2, 3]
  assert rows[0]["time/s"] == 1.0  # of the one that was there first
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write(_row(2, **{"train/loss": 2.0}))
  with pytest.raises(errors.ConfigError, match="second row of step 2 differs"):
    runs.read(tmp_path)


@pytest.mark.parametrize("kept", [[], [0, 1], [*range(11), 11][1:]])
def test_a_run_that_is_done_and_has_lost_rows_is_not_done(tmp_path, kept):
  shutil.copytree(_OLD / "done", tmp_path / "run")
  path = tmp_path / "run" / "metrics.jsonl"
  lines = path.read_text().splitlines(keepends=True)
  path.write_text("".join(lines[i] for i in kept))
  with pytest.raises(schema.RecordError, match=r"metrics\.jsonl (ends|lacks)"):
    runs.read(tmp_path / "run")


def test_files_beside_the_per_example_ones_are_left_alone(tmp_path):
  run = runs.Run(tmp_path, {"seed": 0}, {})
  run.start()
  run.update(**RESULTS)
  run.log_examples(2, {name: [0] for name in runs.EXAMPLES})
  for name in ("epoch_notes.npz", "epochfoo.npz", "epoch99.npz"):
    (tmp_path / "examples" / name).write_text("notes")
  assert [*runs.read_examples(tmp_path)] == [2]
  run.cut()
  assert sorted(os.listdir(tmp_path / "examples")) == [
    "epoch99.npz",
    "epoch_notes.npz",
    "epochfoo.npz",
  ]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_arrays_that_cannot_be_read_are_named(tmp_path, content):
  (tmp_path / "examples").mkdir()
  (tmp_path / "examples/epoch0001.npz").write_bytes(content)
  with pytest.raises(errors.ConfigError, match=r"epoch0001\.npz cannot be"):
    runs.read_examples(tmp_path)


def test_only_the_schema_parses_record_files():
  """By the names of the files, and by JSON where run directories are known."""
  for path in (ROOT / "rethink").rglob("*.py"):
    text = path.read_text()
    if path.name == "schema.py":
      continue
    if path.parent.name == "storage" or "storage import" in text:
      assert "json.load" not in text or path.name in (
        "runs.py",  # canonical values, of no file
        "runner.py",
        "index.py",  # facts about data
        "prepared.py",  # facts about data
        "shard_jobs.py",  # marks of prepare
        "workdirs.py",
      ), path
