import functools
from typing import Literal

import numpy as np
import pytest

from rethink import corruptions, errors, models, regularizers, settings, specs


def scale(
  examples,
  context,
  factor: float,
  mode: Literal["up", "down"] = "up",
  sizes: tuple = (1, 2),
  count: int = 3,
  flag: bool = False,
  note: str = "a, b",
):
  del examples, context
  return factor, mode, sizes, count, flag, note


def blur(examples, context, width: float = 1.0):
  del examples, context
  return width


_KNOWN = {"scale": scale, "blur": blur}
_FULL = (
  "scale(factor=0.5, mode='up', sizes=(1, 2), count=3, flag=False, note='a, b')"
)
_OWN = '''
from typing import Literal

CONSTANT = 3

def noise(ids, labels, rate: float, note: str = "x"):
  """A corruption of the user's own."""
  return labels, {"rate": rate, "note": note}
'''

parse = functools.partial(
  specs.parse,
  known=_KNOWN,
  field="parts",
  leading=("examples", "context"),
)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
  (tmp_path / "own_parts.py").write_text(_OWN)
  monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
  "text",
  [
    "scale(0.5)",
    "scale(factor=0.5)",
    " scale( factor = 5e-1 , )",
    "scale(0.5, 'up', (1, 2), 3, False, 'a, b')",
    "scale(note='a, b', factor=0.5, count=3)",
    _FULL,
  ],
)
def test_equal_calls_have_equal_text(text):
  assert str(parse(text)) == _FULL


def test_parentheses_may_be_left_out():
  assert str(parse("blur")) == str(parse("blur()")) == "blur(width=1.0)"


@pytest.mark.parametrize(
  "text", ["scale(1, sizes={5: 3, 2: 7})", "scale(1, sizes=((2, 7), (5, 3)))"]
)
def test_a_dict_is_the_tuple_of_its_sorted_pairs(text):
  assert parse(text).kwargs["sizes"] == ((2, 7), (5, 3))


def test_files_that_are_read_are_known():
  def own(path: specs.InputFile, other: str = "b", more: specs.InputFile = "c"):
    return path, other, more

  call = parse("own('a')", known={"own": own}, leading=())
  assert settings.input_files(call) == ["a", "c"]
  assert not settings.input_files(parse("blur()"))


@pytest.mark.parametrize(
  "text",
  ["blur(1e-300)", "blur(-0.0)", "scale(1, note='it\\'s (\"a\": b)')"],
)
def test_the_text_of_a_call_is_a_call(text):
  call = parse(text)
  assert str(parse(str(call))) == str(call)
  assert parse(str(call)).kwargs == call.kwargs


def test_an_integer_becomes_a_float_where_a_float_is_wanted():
  value = parse("blur(2)").kwargs["width"]
  assert value == 2.0 and type(value) is float
  assert str(parse("blur(2)")) == "blur(width=2.0)"


def test_a_call_calls():
  call = parse("scale(0.5, 'down', count=7)")
  assert call(None, None) == (0.5, "down", (1, 2), 7, False, "a, b")


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("sharpen(1)", "no 'sharpen'; there are: blur, scale"),
    ("blur(1, 2)", "too many arguments; it takes: width"),
    ("blur(height=1)", "does not take 'height'"),
    ("blur(1, width=2)", "'width'; it takes: width"),
    ("scale(0.5, examples=1)", "does not take 'examples'"),
    ("scale()", "needs a value for 'factor'"),
    ("scale('0.5')", "factor must be float, not '0.5'"),
    ("scale(True)", "factor must be float, not True"),
    ("scale(0.5, count=3.0)", "count must be int, not 3.0"),
    ("scale(0.5, count=True)", "count must be int, not True"),
    ("scale(0.5, flag=1)", "flag must be bool, not 1"),
    ("scale(0.5, sizes=[1])", "write a call with literal arguments"),
    ("scale(0.5, note=1)", "note must be str, not 1"),
    ("scale(0.5, 'left')", r"mode must be one of \('up', 'down'\)"),
  ],
)
def test_a_wrong_call_is_named_with_what_is_right(text, message):
  with pytest.raises(errors.ConfigError, match=message) as caught:
    parse(text)
  assert "config.parts" in str(caught.value)


@pytest.mark.parametrize(
  "text",
  [
    "",
    "blur(",
    "blur)",
    "blur(width)",
    "blur(1 + 1)",
    "blur(2 ** 10)",
    "blur(*[1])",
    "blur(**{'width': 1})",
    "blur(1)(2)",
    "blur(1); blur(2)",
    "blur(1)\nimport os",
    "module.blur(1)",
    "lambda: 1",
    "blur({[]: 1})",
    "blur({1: []})",
    "blur({1: 2, 'a': 3})",
    ":blur()",
    "blur(1, width=1)",
    "blur(width=1, width=2)",
    "blur(1e999)",
  ],
)
def test_what_is_no_call_with_literals_is_refused(text):
  with pytest.raises(errors.ConfigError, match=r"config\.parts"):
    parse(text)


@pytest.mark.parametrize(
  "text",
  [
    "__import__('os').system('touch {0}')",
    "blur(__import__('os').system('touch {0}'))",
    "blur(width=open('{0}', 'w'))",
    "blur([open('{0}', 'w') for _ in 'a'])",
    "exec(\"open('{0}', 'w')\")",
    "blur(f\"{{open('{0}', 'w')}}\")",
  ],
)
def test_nothing_is_executed(text, tmp_path):
  victim = tmp_path / "victim"
  with pytest.raises(errors.ConfigError):
    parse(text.format(victim))
  assert not victim.exists()


def test_a_function_of_the_users_own(own_module):
  call = parse("own_parts:noise(1)")
  assert str(call) == "own_parts:noise(rate=1.0, note='x')"
  assert call("ids", "labels") == (
    "labels",
    {"rate": 1.0, "note": "x"},
  )
  assert str(parse(str(call))) == str(call)


@pytest.mark.parametrize("note", ["a:b", "(", "own_parts:noise(1)", "x)"])
def test_a_string_argument_may_look_like_a_path(own_module, note):
  assert parse(f"own_parts:noise(1, {note!r})").kwargs["note"] == note
  assert parse(f"scale(1, note={note!r})").kwargs["note"] == note


@pytest.mark.parametrize(
  "text",
  [
    "own_parts:nothing(1)",
    "no_such_module:noise(1)",
    ".own_parts:noise(1)",
    "own_parts:CONSTANT",
    "own_parts:noise",
    "builtins:dict(a=1)",
  ],
)
def test_what_the_user_does_not_have_is_refused(own_module, text):
  with pytest.raises(errors.ConfigError, match=r"config\.parts"):
    parse(text)


def test_annotations_may_be_postponed(tmp_path, monkeypatch):
  (tmp_path / "own_postponed.py").write_text(
    f"from __future__ import annotations\n{_OWN}"
  )
  monkeypatch.syspath_prepend(tmp_path)
  call = parse("own_postponed:noise(1)")
  assert str(call) == "own_postponed:noise(rate=1.0, note='x')"


def test_static_is_all_but_the_values_of_floats():
  one, two = parse("scale(0.5)"), parse("scale(0.25)")
  assert one.static == two.static
  assert hash(one.static) == hash(two.static)
  assert one.numbers == {"factor": 0.5}


@pytest.mark.parametrize(
  "text",
  [
    "scale(0.5, 'down')",
    "scale(0.5, sizes=(1, 3))",
    "scale(0.5, count=4)",
    "scale(0.5, flag=True)",
    "scale(0.5, note='b')",
    "blur(0.5)",
  ],
)
def test_static_keeps_all_that_is_no_float(text):
  assert parse(text).static != parse("scale(0.5)").static


def test_static_calls_the_function_with_the_numbers():
  call = parse("scale(0.5, count=7)")
  number = np.float32(3)
  got = call.static({"factor": number}, None, None)
  assert got[0] is number
  assert got[1:] == ("up", (1, 2), 7, False, "a, b")


def lookahead(x, y, step: int = 5, name: str = "", images: float = 1.0):
  del x, y
  return step, name, images


def test_leading_parameters_are_told_by_position_not_by_name():
  known = {"lookahead": lookahead}
  call = specs.parse(
    "lookahead(step=7)", known, "loss", leading=("logits", "targets")
  )
  assert call.kwargs == {"step": 7, "name": "", "images": 1.0}
  assert call(None, None) == (7, "", 1.0)


def test_a_function_that_takes_too_little_is_refused_with_what_it_gets():
  def too_few(logits):
    return logits

  with pytest.raises(errors.ConfigError, match="take logits, targets first"):
    specs.parse(
      "own()", {"own": too_few}, "loss", leading=("logits", "targets")
    )


def test_a_required_argument_called_images_is_asked_for():
  def own(images):
    return images

  with pytest.raises(errors.ConfigError, match="needs a value for 'images'"):
    specs.parse("own()", {"own": own}, "regularizers")


def test_a_misspelt_name_gets_the_nearest_one():
  with pytest.raises(errors.ConfigError, match="did you mean 'scale'"):
    parse("scail(0.5)")


def test_what_a_module_of_the_users_own_raises_keeps_its_traceback(
  tmp_path, monkeypatch
):
  (tmp_path / "own_fault.py").write_text("import json\njson.no_such_thing\n")
  (tmp_path / "own_import.py").write_text("import no_such_dependency\n")
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(AttributeError, match="no_such_thing") as caught:
    parse("own_fault:noise(1)")
  assert caught.traceback[-1].path.name == "own_fault.py"
  assert "'own_fault'" in caught.value.__notes__[0]
  with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
    parse("own_import:noise(1)")


def test_a_corruption_may_call_its_own_arguments_as_it_likes():
  def own(ids, images, context, labels: float = 0.5, examples: int = 3):
    return ids, images, context, labels, examples

  call = specs.parse(
    "own(labels=0.25)", {"own": own}, "corruptions", corruptions.LEADING
  )
  assert call.kwargs == {"labels": 0.25, "examples": 3}


def test_public_is_what_a_module_defines_itself():
  found = specs.public(corruptions)
  assert set(found) >= {"random_labels", "shuffled_pixels", "gaussian"}
  assert all(f.__module__ == corruptions.__name__ for f in found.values())
  assert not [name for name in found if name.startswith("_")]
  assert "center_crop" not in found


def test_a_wrong_model_lists_the_models():
  with pytest.raises(errors.ConfigError, match=", ".join(models.names())):
    models.parse("resnet()")


@pytest.mark.parametrize("module", [corruptions, regularizers])
def test_every_component_has_a_summary_and_annotated_arguments(module):
  for name, function in specs.public(module).items():
    assert function.__doc__, name
    assert set(function.__annotations__) >= set(
      function.__code__.co_varnames[: function.__code__.co_argcount]
    ), name


@pytest.mark.parametrize(
  ("field", "text", "said"),
  [
    ("optimizer", "adam(1e-3)", r"which argument 0.001 is \(the learning rate"),
    ("optimizer", "sgd(0.9)", "by name, such as momentum=0.9"),
    ("optimizer", "adam(b1=5)", r"b1 must lie in \[0.0, 1.0\], not 5"),
    ("schedule", "exponential(0.1)", "by name, such as decay=0.1"),
    ("schedule", "cosine(0.1)", "by name, such as warmup_epochs=0.1"),
    ("model", "alexnet(10)", r"10 is \(num_classes is that of the data set"),
    ("model", "inception_v3(1000)", "such as auxiliary_weight=1000"),
    ("model", "mlp(10)", "such as widths=10"),
    ("model", "mlp(widths=(0,))", r"widths must lie in \[1, 16777216\], not 0"),
    ("model", "mlp(widths=(8, -1))", "widths must lie in"),
    ("model", "mlp(widths=(1000000000000000,))", "widths must lie in"),
    ("model", "inception(width=0.0)", "width must lie in"),
    ("model", "incepton()", r"did you mean 'inception'\?"),
  ],
)
def test_a_number_that_could_mean_another_argument_is_refused(
  config, field, text, said
):
  config[field] = text
  with pytest.raises(errors.ConfigError, match=said):
    settings.resolve(config)


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("random_crop(32)", "by name, such as padding=32"),
    ("random_crop(padding=-1)", "padding must lie in"),
    ("dropot(0.5)", r"did you mean 'dropout'\?"),
  ],
)
def test_regularizers_are_asked_alike(config, text, said):
  config.regularizers = (text,)
  with pytest.raises(errors.ConfigError, match=said):
    settings.resolve(config)


def test_a_misspelt_corruption_is_named(config):
  config.corruptions = ("random_label()",)
  with pytest.raises(errors.ConfigError, match=r"mean 'random_labels'\?"):
    settings.resolve(config)


def test_arguments_by_name_only_are_no_places():
  def only(*, width: float = 1.0, height: float = 1.0):
    return width, height

  known = {"only": only}
  assert parse("only(height=2)", known=known, leading=()).kwargs["height"] == 2
  with pytest.raises(errors.ConfigError, match=r"by name, such as width=3"):
    parse("only(3)", known=known, leading=())


def test_numbers_in_a_tuple_have_a_range_and_huge_ones_are_no_floats():
  def sized(sizes: specs.Sizes = (1,), rate: float = 1.0):
    return sizes, rate

  known = {"sized": sized}
  for text in ("sized((1, 0))", "sized((2, 10**2))", f"sized(rate={10**400})"):
    with pytest.raises(errors.ConfigError):
      parse(text, known=known, leading=())
  assert parse("sized((3, 4))", known=known, leading=()).kwargs["sizes"] == (
    3,
    4,
  )
