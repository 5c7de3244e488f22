import pytest

from configs import base
from rethink import errors, experiments

_RUNS = experiments.product(
  model={"mlp": {"model": "mlp()"}, "deep": {"model": "mlp((8, 8))"}},
  labels={
    "true": {},
    "random": {"corruptions": ("random_labels()",), "num_epochs": 7},
  },
)


def test_a_product_has_all_combinations_in_order():
  assert list(_RUNS) == [
    "mlp/true",
    "mlp/random",
    "deep/true",
    "deep/random",
  ]
  assert _RUNS["deep/true"] == {"model": "mlp((8, 8))"}
  assert _RUNS["mlp/random"] == {
    "model": "mlp()",
    "corruptions": ("random_labels()",),
    "num_epochs": 7,
  }


def test_a_later_axis_overrides_an_earlier_one():
  runs = experiments.product(
    a={"x": {"seed": 1, "num_epochs": 1}}, b={"y": {"seed": 2}, "z": {}}
  )
  assert runs["x/y"] == {"seed": 2, "num_epochs": 1}
  assert runs["x/z"] == {"seed": 1, "num_epochs": 1}


def test_runs_do_not_share_their_overrides():
  choice = {"seed": 1}
  runs = experiments.product(a={"x": choice}, b={"y": {}, "z": {}})
  runs["x/y"]["seed"] = 5
  assert runs["x/z"] == choice == {"seed": 1}


def test_products_are_joined_as_dicts():
  more = experiments.product(seed={f"seed{i}": {"seed": i} for i in range(3)})
  assert list(_RUNS | more)[-3:] == ["seed0", "seed1", "seed2"]


def test_select_applies_one_run():
  config = experiments.select(base.get_config(), _RUNS, "deep/random")
  assert config.model == "mlp((8, 8))"
  assert config.corruptions == ("random_labels()",)
  assert config.num_epochs == 7
  assert config.batch_size == base.get_config().batch_size
  assert config.is_locked


def test_select_reaches_nested_fields():
  runs = {"quiet": {"bookkeeping.progress": False}}
  config = experiments.select(base.get_config(), runs, "quiet")
  assert config.bookkeeping.progress is False


def test_an_unknown_run_lists_the_runs():
  with pytest.raises(errors.ConfigError) as caught:
    experiments.select(base.get_config(), _RUNS, "mlp/rand")
  assert "'mlp/rand'" in str(caught.value)
  for name in _RUNS:
    assert name in str(caught.value)


@pytest.mark.parametrize(
  "overrides",
  [
    {"learning_rat": 0.1},
    {"bookkeeping.progres": False},
    {"seed.x": 1},
    {"batch_size": "large"},
    {"num_epochs": 1.5},
  ],
)
def test_an_override_that_does_not_fit_is_refused(overrides):
  with pytest.raises(errors.ConfigError, match="run 'typo'"):
    experiments.select(base.get_config(), {"typo": overrides}, "typo")


def test_a_misspelt_run_is_asked_back_and_the_list_is_short():
  from configs import fig1_randomization, table1_cifar10

  for module in (fig1_randomization, table1_cifar10):
    first = next(iter(module.RUNS))
    with pytest.raises(errors.ConfigError) as caught:
      module.get_config(first.replace("e", "a", 1))
    said = str(caught.value)
    assert f"did you mean {first!r}?" in said
    assert len(said) < 1000 and said.endswith(" more")
