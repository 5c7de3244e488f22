"""The ranges and names of fields, and the names of variations."""

import math
import re

import ml_collections
import pytest

from configs import base, kernels
from rethink import cli, errors
from rethink.fields import config_files, ranges, variations
from tests.conftest import ROOT

BASES = {"base": base.get_config, "kernels": kernels.get_config}


def _numbers(config) -> dict:
  flat = {
    **{k: v for k, v in config.items() if k != "bookkeeping"},
    **{f"bookkeeping.{k}": v for k, v in config.bookkeeping.items()},
  }
  return {k: v for k, v in flat.items() if type(v) in (int, float)}


@pytest.mark.parametrize("name", BASES)
def test_every_numeric_field_has_its_range_and_type(name):
  config = BASES[name]()
  for field, value in _numbers(config).items():
    assert field in ranges.RANGES, f"{field}: give it a row"
    assert ranges.RANGES[field].kind is type(value), field
  ranges.check(config, config)


def test_no_range_is_of_a_field_that_does_not_exist():
  known = {k for make in BASES.values() for k, _ in ranges._flat(make())}
  assert set(ranges.RANGES) <= known
  assert set(ranges.CHOICES) <= set(base.get_config())


@pytest.mark.parametrize("field", ranges.RANGES)
def test_a_range_holds_its_ends_and_nothing_beyond(field):
  limits = ranges.RANGES[field]
  assert not limits.explain(limits.kind(limits.low))
  assert bool(limits.explain(limits.kind(limits.high))) == limits.below
  bad = [True, None, "1", -1, 2**70 * limits.high, float("nan")]
  bad += [float("inf"), limits.low - 1]
  if limits.kind is int:
    bad += [limits.low + 0.5]
  else:  # an integer is a number, too
    assert not limits.explain(1) or limits.below
  for value in bad:
    assert limits.explain(value).startswith("must be "), value


@pytest.mark.parametrize(
  ("field", "value", "said"),
  [
    ("num_epochs", 2**31, r"num_epochs must be at most 2,147,483,647, not"),
    ("learning_rate", math.nan, "learning_rate must be .* not nan"),
    ("learning_rate", 0.0, "learning_rate must be above 0, not 0.0"),
    ("central_fraction", 1.5, "central_fraction must be 0 to 1, not 1.5"),
    ("seed", 2**32, "seed must be below 4,294,967,296"),
    ("drop_last", 1, "drop_last must be True or False, not 1"),
    ("dataset", 3, "dataset must be a text in quotes, not 3"),
    ("dtype", "float16", "dtype must be 'float32' or 'bfloat16', not 'float16"),
    ("corruptions", 3, "corruptions must be a tuple of calls in quotes"),
    ("num_epoch", 1, "no such field .did you mean 'num_epochs'"),
    ("chunk_seconds", 1, "did you mean 'bookkeeping.chunk_seconds'"),
    ("zzz", 1, "config.zzz: there is no such field; configs/base.py"),
  ],
)
def test_a_value_that_no_field_can_have_is_one_sentence(field, value, said):
  config = dict(base.get_config().items())
  config[field] = value
  with pytest.raises(errors.ConfigError, match=said) as caught:
    ranges.check(config, base.get_config())
  assert "\n" not in str(caught.value)


def test_what_a_file_sets_deep_inside_is_refused_and_what_it_lacks():
  config = base.get_config()
  config.bookkeeping.tensorbord = False
  with pytest.raises(errors.ConfigError, match=r"mean 'bookkeeping.tensorboa"):
    ranges.check(config, base.get_config())
  config = dict(base.get_config().items())
  del config["batch_size"]
  with pytest.raises(errors.ConfigError, match="batch_size is missing; begin"):
    ranges.check(config, base.get_config())


def _varied(**fields) -> str:
  config = base.get_config()
  config.update_from_flattened_dict(fields)
  return variations.suffix(config, base.get_config())


def test_the_plain_config_and_other_bookkeeping_have_no_suffix():
  assert _varied() == _varied(seed=0, corruptions=()) == ""
  assert _varied(**{"bookkeeping.chunk_seconds": 1.0}) == ""


def test_a_variation_is_named_after_what_differs():
  assert _varied(seed=1) == "-seed=1"
  assert _varied(seed=1, learning_rate=0.1) == "-learning_rate=0.1,seed=1"
  name = _varied(model="mlp(widths=(32,))")
  assert re.fullmatch(r"-model=mlp_widths=32-[0-9a-f]{8}", name)


def test_variations_that_look_alike_or_are_long_keep_names_of_their_own():
  calls = ["mlp(widths=(1, 2))", "mlp(widths=(1,2))", "mlp((1, 2))"]
  names = {_varied(model=call) for call in calls}
  assert len(names) == 3
  long = [_varied(dataset="x" * 300 + end) for end in "ab"]
  assert long[0] != long[1] and max(map(len, long)) < 100
  for name in (*names, *long, _varied(dataset="../../$(x)\n")):
    assert re.fullmatch(r"[A-Za-z0-9_.=,+-]+", name), name
    assert ".." not in name.split("/")


def test_a_tilde_is_the_home_folder_in_every_flag_that_takes_a_path(
  monkeypatch,
):
  monkeypatch.setenv("HOME", "/home/me")
  parse = cli._PathParser().parse
  assert parse("~/runs") == "/home/me/runs" and parse("~") == "/home/me"
  assert parse("runs/~") == "runs/~" and parse("gs://b/~") == "gs://b/~"
  with pytest.raises(ValueError, match="no home folder '~nobody_here'"):
    parse("~nobody_here/x")
  for text in ("--config=~/c.py", "-config=~/c.py", "~/c.py"):
    assert config_files.expand_home(text) == text.replace("~", "/home/me")
  assert config_files.expand_home("--only=~/c") == "--only=~/c"
  # All other flags of entry points that are texts name no path.
  for path in [*(ROOT / "rethink").rglob("*.py")]:
    for name in re.findall(r'DEFINE_string\(\s*"(\w+)"', path.read_text()):
      assert name in ("only", "coordinator"), (path, name)


def test_a_config_file_that_ends_the_process_is_no_success(tmp_path):
  path = tmp_path / "mine.py"
  for text in (
    "import sys\nsys.exit(0)\n",
    "import sys\ndef get_config():\n  sys.exit()\n",
  ):
    path.write_text(text)
    with pytest.raises(errors.UserExitError, match="nothing was finished"):
      config_files.try_out(["main", f"--config={path}"])
  path.write_text("import sys\nsys.exit(3)\n")
  with pytest.raises(SystemExit):  # is an error as it is
    config_files.try_out(["main", "--config", str(path)])


def test_a_component_that_ends_the_process_is_no_success():
  def body():
    raise SystemExit(0)

  with pytest.raises(errors.UserExitError):
    cli.exit_code(body)


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("import ml_collections\ndef get_config():\n"
     "  c = ml_collections.ConfigDict()\n  c.seed = 1\n  return c\n",
     "config.method is missing"),
    (None, "is not a Python file"),
  ],
  ids=["no_method", "folder"],
)  # fmt: skip
def test_a_config_that_is_none_of_ours_is_named(tmp_path, text, said):
  path = tmp_path / "mine.py"
  if text is None:
    path.mkdir()
  else:
    path.write_text(text)
  with pytest.raises(errors.ConfigError, match=said):
    config_files.try_out(["main", f"--config={path}"])


def test_names_in_a_message_are_few():
  names = [f"model/data{n}/seed0" for n in range(500)]
  assert errors.listed(names[:3]) == ", ".join(names[:3])
  many = errors.listed(names, "model/data77/sed0")
  assert many.startswith("model/data77/seed0") and many.endswith("488 more")
  assert len(many) < 400
  assert errors.did_you_mean("modl/data7/seed0", names)


def test_mappings_are_what_the_check_reads():
  nested = ml_collections.ConfigDict({"a": {"b": {"c": 1}}})
  assert list(ranges._flat(nested)) == [("a.b.c", 1)]
