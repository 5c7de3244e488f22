"""Whatever is typed into a field ends in a config or in one sentence."""

import math

import hypothesis
import pytest
from hypothesis import strategies as st

from configs import base, kernels
from rethink import (
  corruptions,
  errors,
  losses,
  models,
  optimizers,
  regularizers,
  schedules,
  specs,
)
from rethink.fields import ranges, variations
from rethink.kernels import features, functions, interpolants
from rethink.methods import learners, runner

_CALLS = (
  *("mlp(widths=(32,))", "mlp(3)", "mlp(widths=(0,))", "mlp((10**15,))"),
  *("inception(width=-1)", "alexnet(10)", "inception_v3(1000)", "mpl()"),
  *("adam(1e-3)", "adam(b1=2)", "sgd(momentum=0.9)", "optax:adamw(0.1)"),
  *("optax:adamw(b1=0.8)", "optax:nothing()", "exponential(0.1)", "cosine()"),
  *("random_crop(32)", "random_crop(padding=1)", "dropout(1.5)", "sam()"),
  *("random_labels()", "partially_corrupted_labels(2)", "gaussian(0.1)"),
  *("os:system('true')", "os.path:join('a')", "builtins:exec('1')", ":x()"),
  *("squared_error()", "margin()", "top_k_accuracy(5)", "construct(3)"),
  *("linear()", "laplacian(-1.0)", "cholesky()", "nystrom(0)", "sgd(epochs=0)"),
  *("<minus>", "<deep>", "<digits>"),
)
# By a short name: hypothesis shows what it tries.
_HUGE = {
  "<minus>": "mlp(" + "-" * 10**5 + "1)",
  "<deep>": "mlp(" + "(" * 10**4 + ")" * 10**4 + ")",
  "<digits>": "mlp(widths=(" + "9" * 5000 + ",))",
}
_NUMBERS = (
  0,
  1,
  -1,
  10**9,
  2**31,
  2**32,
  2**63,
  10**400,
  0.0,
  -0.0,
  0.5,
  1e-50,
)
_ODD = (math.nan, math.inf, -math.inf, True, None, "", "1", "x\ny", b"x", ())

values = st.one_of(
  st.sampled_from(_NUMBERS + _ODD),
  st.sampled_from(_CALLS),
  st.tuples(st.sampled_from(_CALLS)),
  st.lists(st.sampled_from((*_CALLS, 3, None)), max_size=3).map(tuple),
  st.integers(),
  st.floats(),
  st.text(max_size=20),
  # Texts that are nearly calls.
  st.builds(
    "{}({})".format,
    st.text("abc_:.", max_size=8),
    st.text("0,-'()[]=a", max_size=8),
  ),
)  # fmt: skip


def _whole(value):
  if isinstance(value, tuple):
    return tuple(map(_whole, value))
  return _HUGE.get(value, value) if isinstance(value, str) else value


def _leaves(config) -> list[str]:
  return [field for field, _ in ranges._flat(config)]


_FIELDS = [
  *((base, field) for field in _leaves(base.get_config())),
  *((kernels, field) for field in _leaves(kernels.get_config())),
]


def _try(changes) -> None:
  """Changes fields of a config as a user's file may, whatever their types."""
  module = changes[0][0][0]
  config = module.get_config()
  for (_, field), value in changes:
    if field not in _leaves(config):
      continue
    *outer, name = field.split(".")
    inside = config[outer[0]] if outer else config
    with inside.ignore_type():
      try:
        inside[name] = _whole(value)
      except (
        OverflowError
      ):  # ml_collections makes a float of it: the user's own
        return
  try:
    _, _, found = runner.resolve(config)
  except errors.RethinkError as error:
    text = str(error)
    assert "config." in text and len(text) < 2000 and "\n" not in text
    return
  for field, value in _flat_numbers(found.config):
    assert not ranges.RANGES[field].explain(value), field
  suffix = variations.suffix(config, module.get_config())
  assert len(suffix) < 120 and "/" not in suffix and "\n" not in suffix


def _flat_numbers(config):
  return [(f, v) for f, v in ranges._flat(config) if f in ranges.RANGES]


def _fuzz(examples):
  changes = st.lists(
    st.tuples(st.sampled_from(_FIELDS), values), min_size=1, max_size=2
  )
  settings = hypothesis.settings(
    max_examples=examples,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
  )
  settings(hypothesis.given(changes)(_try))()


def test_odd_values_end_in_a_config_or_in_one_sentence():
  _fuzz(50)


@pytest.mark.slow
def test_many_odd_values_end_in_a_config_or_in_one_sentence():
  _fuzz(500)


@pytest.mark.parametrize("field", ["model", "optimizer", "schedule", "loss"])
@pytest.mark.parametrize("call", _HUGE)
def test_a_call_that_the_parser_cannot_hold_is_one_short_sentence(field, call):
  config = base.get_config()
  config[field] = _HUGE[call]
  with pytest.raises(errors.ConfigError, match="cannot read") as caught:
    runner.resolve(config)
  assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
  ("field", "call"),
  [
    ("method", "os:system('touch {}')"),
    ("model", "mlp(kernel_init=\"os:system('touch {}')\")"),
  ],
)
def test_where_only_names_of_ours_are_meant_no_module_is_run(
  field, call, tmp_path
):
  config = base.get_config()
  config[field] = call.format(tmp_path / "victim")
  with pytest.raises(errors.ConfigError, match="names a module"):
    _, _, found = runner.resolve(config)
    models.initializer(found.model.kwargs["kernel_init"])
  assert not list(tmp_path.iterdir())


_MODULES = (
  corruptions,
  regularizers,
  losses,
  optimizers,
  schedules,
  functions,
  features,
  interpolants,
  learners,
)


def _components():
  for module in _MODULES:
    yield from specs.public(module).items()
  for name in models.names():
    yield name, models.parse(f"{name}()").function
  for name, method in runner._methods().items():
    yield name, method.execute


@pytest.mark.parametrize(("name", "function"), list(_components()))
def test_every_number_of_a_component_has_a_range(name, function):
  parameters = specs.signature(function).parameters.values()
  for parameter in parameters:
    if parameter.name != "num_classes":  # is that of the data set
      numbers = (int, float, tuple[int, ...], tuple[float, ...])
      assert parameter.annotation not in numbers, f"{name}: {parameter}"
