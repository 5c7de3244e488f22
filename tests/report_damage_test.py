"""A report goes on without a damaged run, which it names with the reason."""

import copy
import itertools
import json
import shutil

import pytest

from configs import expressivity, memorize, table1_cifar10
from rethink.report import pages, reading, results, sources
from tests import report_runs
from tests.report_runs import row

_GOOD, _BAD = "random/epochs30/seed0", "random/epochs30/seed1"
_ODD = (
  *(None, "=x", "x" * 5000, [], [None], {}, {"a": 3}, True),
  *(-1.5, float("nan"), 10**400),
)


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
  """Two seeds of one set-up; the second is for damage."""
  root = tmp_path_factory.mktemp("runs")
  for name in (_GOOD, _BAD):
    run = report_runs.write(root, memorize, name, [row(1, 1.0), row(30)])
    run.update(
      constant_since_epoch=None,
      test_overlap=0,
      attainable={"train_accuracy_ceiling": 0.9, "train_majority": 0.1},
    )
  return root


_SOURCES = {
  module: sources.from_flag(module.__file__)
  for module in (memorize, expressivity, table1_cifar10)
}


def _found(root, module=memorize) -> results.Results:
  return results.Results(_SOURCES[module], root)


def _text(root) -> str:
  """Everything that a report writes, but for its figures."""
  found = _found(root)
  source = found.source
  found.source = source._replace(report=source.report._replace(figures=()))
  section = pages.build_section(found)
  json.dumps(pages.as_json(section), allow_nan=False)
  return pages.html([section]) + pages.markdown(section)


def _leaves(value, path=()):
  """The paths of all fields of a JSON value."""
  if path:
    yield path
  if isinstance(value, dict):
    for key in value:
      yield from _leaves(value[key], (*path, key))


def _mutated(value, path, odd):
  """A copy without the field, or with an odd value in it."""
  changed = copy.deepcopy(value)
  inner = changed
  for key in path[:-1]:
    inner = inner[key]
  if odd == "delete":
    del inner[path[-1]]
  else:
    inner[path[-1]] = odd
  return changed


@pytest.mark.parametrize("every", [20, pytest.param(1, marks=pytest.mark.slow)])
def test_any_field_may_be_missing_or_odd(runs_dir, every):
  folder = runs_dir / "memorize" / _BAD
  tried = gaps = 0
  assert not _found(runs_dir).group("random/epochs30").damaged
  for file in ("config.json", "status.json", "metrics.jsonl"):
    path = folder / file
    good = path.read_text(encoding="utf-8")
    first, *rest = good.splitlines() if file.endswith("l") else [good]
    value = json.loads(first)
    cases = itertools.product(_leaves(value), ("delete", *_ODD))
    for leaf, odd in itertools.islice(cases, 0, None, every):
      tried += 1
      text = "\n".join([json.dumps(_mutated(value, leaf, odd)), *rest])
      path.write_text(text, encoding="utf-8")
      group = _found(runs_dir).group("random/epochs30")
      assert "seed0" in group.done
      gaps += bool(group.damaged)
      if group.damaged:
        assert file in group.damaged["seed1"], (leaf, odd, group.damaged)
        assert str(runs_dir) not in group.damaged["seed1"]
      else:  # what is not read may be anything
        _text(runs_dir)
    path.write_text(good, encoding="utf-8")
  assert gaps > tried / 4


@pytest.mark.parametrize(
  ("file", "content", "reason"),
  [
    ("status.json", b"[]", "status.json is no JSON object"),
    ("status.json", b"\xff\xfe", "status.json"),
    ("status.json", b"{", "status.json is not valid JSON"),
    ("status.json", b"[" * 100_000, "recursion"),
    ("config.json", b"null", "config.json is no JSON object"),
    ("config.json", None, "config.json"),
    ("metrics.jsonl", b"null\n", "metrics.jsonl:1 is no JSON object"),
    ("metrics.jsonl", b'{"epoch": 1}\n{}', "metrics.jsonl:1 has no field 'st"),
    ("metrics.jsonl", b"", "metrics.jsonl ends at step none, but status.json"),
    ("metrics.jsonl", b"\xff\n\xfe", "metrics.jsonl"),
  ],
)
def test_a_damaged_file_is_named_on_the_page(
  runs_dir, tmp_path, file, content, reason
):
  shutil.copytree(runs_dir, tmp_path / "runs")
  path = tmp_path / "runs/memorize" / _BAD / file
  path.unlink()
  if content is None:
    path.mkdir()
  else:
    path.write_bytes(content)
  text = _text(tmp_path / "runs")
  found = _found(tmp_path / "runs").group("random/epochs30")
  assert list(found.done) == ["seed0"]
  assert reason in found.damaged["seed1"]
  assert "1 cannot be read." in text and "Runs that cannot be read" in text
  assert f"{_BAD}: " in text and str(tmp_path) not in text


def test_a_damaged_curve_is_a_gap_and_no_end_of_the_report(tmp_path):
  run = report_runs.write(
    tmp_path, expressivity, "theorem1/random/seed0", [row(0, 0.0)]
  )
  run.log_curve("function", projection=[1.0, 2.0], value=[3.0, 4.0])
  found = _found(tmp_path, expressivity)
  assert not found.group("theorem1/random").damaged
  run.log_curve("function", projection=[1.0, 2.0], value=[3.0])
  path = run.workdir / "curves/function.npz"
  for reason in ("different lengths", "cannot be read"):
    found = _found(tmp_path, expressivity)
    assert reason in found.group("theorem1/random").damaged["seed0"]
    path.write_bytes(b"torn")


def test_old_and_unfinished_runs_are_no_damage(tmp_path):
  run = report_runs.write(tmp_path, memorize, _GOOD, [row(3)], state="running")
  found = _found(tmp_path).group("random/epochs30")
  assert found.unfinished == ("seed0 running at epoch 3",)
  (run.workdir / "status.json").unlink()  # killed right after its start
  found = _found(tmp_path).group("random/epochs30")
  assert found.missing == 1 and not found.damaged


@pytest.mark.parametrize("kept", [0, 1])
def test_a_finished_run_whose_last_rows_are_lost_is_named(tmp_path, kept):
  name = "mlp_1x512/true/none/seed0"
  run = report_runs.write(tmp_path, table1_cifar10, name, [row(1), row(2)])
  path = run.workdir / "metrics.jsonl"
  path.write_text("".join(path.read_text().splitlines(True)[:kept]))
  found = _found(tmp_path, table1_cifar10).group("mlp_1x512/true/none")
  assert "metrics.jsonl ends at step" in found.damaged["seed0"]


def test_every_type_has_its_word():
  for fields in reading._NEEDED.values():
    for kind in fields.values():
      assert kind in reading._WORDS
