"""Every config and every named run loads, locks and traces."""

import importlib

import jax
import jax.numpy as jnp
import pytest

from rethink import compiled, errors, example, schedules, settings, train_step
from rethink.methods import runner
from rethink.pipeline import resident
from tests.conftest import ROOT, random_info

MODULES = {
  path.stem: importlib.import_module(f"configs.{path.stem}")
  for path in sorted((ROOT / "configs").glob("[a-z]*.py"))
}
TRAINED = [
  name
  for name, module in MODULES.items()
  if module.get_config().method == "train"
]
# Shape and classes of the data sets that the configs name.
DATA = {
  "digits": (8, 8, 1),
  **dict.fromkeys(("cifar10", "cifar10_jpeg", "cifar10_jpeg30"), (32, 32, 3)),
  "imagenet2012": (299, 299, 3),
  "imagenet_sample": (299, 299, 3),
}


def _runs(module):
  return getattr(module, "RUNS", {"": None})


def _load(module, run):
  config = module.get_config(run) if run else module.get_config()
  config.lock()
  return config


def _info(config) -> example.DatasetInfo:
  return random_info(DATA[config.dataset])


@pytest.mark.parametrize("name", MODULES)
def test_every_run_loads_locks_and_resolves(name):
  module = MODULES[name]
  fingerprints = {}
  for run in _runs(module):
    config = _load(module, run)
    with pytest.raises(AttributeError):
      config.no_such_field = 1
    outcome = str(runner.resolve(config)[2].outcome)
    assert outcome not in fingerprints, f"{run} = {fingerprints[outcome]}"
    fingerprints[outcome] = run


_TRACED = set()  # over all configs: they share architectures


@pytest.mark.parametrize("name", TRAINED)
def test_every_run_traces(name, sharding):
  module = MODULES[name]
  for run in _runs(module):
    config = _load(module, run)
    resolved = settings.resolve(config)
    shape = DATA[config.dataset]
    if config.pipeline == "stream":  # it resizes them
      shape = (config.image_size, config.image_size, 3)
    size = config.image_size or shape[0]
    resolved = settings.with_image_size(resolved, size)
    static = compiled.static_arguments(resolved, 10, sharding(1))
    if (static, shape) in _TRACED:  # runs that share a program
      continue
    _TRACED.add((static, shape))
    length = schedules.Length(jnp.int32(4), jnp.int32(8))
    keys = compiled.keys(config.seed)
    inputs = compiled.traced_arguments(resolved, length, keys.noise)
    n = config.batch_size
    batch = resident.Resident(
      jax.ShapeDtypeStruct((n, *shape), jnp.uint8),
      jax.ShapeDtypeStruct((n,), jnp.int32),
      jax.ShapeDtypeStruct((n,), jnp.int32),
    )

    def one_step(batch, static=static, inputs=inputs, key=keys.init):
      state = train_step.create_train_state(
        static, batch.image.shape[-1], inputs, key
      )
      return state, train_step.train_step(static, inputs, state, batch)

    before, after = jax.eval_shape(one_step, batch)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), before) == jax.tree.map(
      lambda x: (x.shape, x.dtype), after
    ), run


@pytest.mark.parametrize("name", MODULES)
def test_configs_are_deltas_of_the_base(name):
  config = MODULES[name].get_config()
  solved = config.method == "interpolate"
  base = MODULES["kernels" if solved else "base"].get_config()
  assert set(config) == set(base)
  assert set(config.bookkeeping) == set(base.bookkeeping)


def test_table_1_has_the_rows_of_the_paper():
  runs = MODULES["table1_cifar10"].RUNS
  paper = [
    *(f"{m}/true/{r}" for m in ("inception", "alexnet")
      for r in ("crop+wd", "crop", "wd", "none")),
    *(f"{m}/true/{r}" for m in ("inception_no_bn", "mlp_3x512", "mlp_1x512")
      for r in ("wd", "none")),
    *(f"{m}/random/none" for m in ("inception", "inception_no_bn", "alexnet",
                                   "mlp_3x512", "mlp_1x512")),
  ]  # fmt: skip
  assert len(paper) == 19
  assert {f"{row}/seed0" for row in paper} <= set(runs)


def test_table_2_has_the_rows_of_the_paper():
  module = MODULES["table2_imagenet"]
  (table,) = module.REPORT.tables
  assert len(table.rows) == 7
  for row in table.rows:
    assert {"train1", "train5", "test1", "test5"} <= set(row.paper)
    config = _load(module, f"{row.runs}/seed0")
    _, *yes = row.heads
    names = [text.partition("(")[0] for text in config.regularizers]
    found = ("color_jitter" in names, "dropout" in names)
    found += ("weight_decay" in names,)
    assert found == tuple(answer == "yes" for answer in yes)


def test_random_imagenet_is_the_last_row_of_table_2():
  one = _load(MODULES["imagenet_random"], "")
  assert one == _load(MODULES["table2_imagenet"], "random/none/seed0")


def test_an_unknown_run_names_those_that_exist():
  with pytest.raises(errors.ConfigError, match="mlp_1x512/random_labels"):
    MODULES["demo"].get_config("mlp/nothing")


def test_the_rows_of_table_1_need_at_most_8_training_programs():
  module = MODULES["table1_cifar10"]
  (table,) = module.REPORT.tables
  _, sharded = resident.shardings()
  needed = {
    compiled.static_arguments(
      settings.resolve(_load(module, f"{row.runs}/seed0")), 10, sharded
    )
    for row in table.rows
  }
  assert len(needed) <= 8
