"""A network that answers the same for every image is called constant."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from rethink import console, evaluate
from rethink.methods import outputs, runner
from rethink.storage import runs
from tests.method_train_test import StopAfter


class Dead(nn.Module):
  """No unit is ever active, so that only the last bias reaches the output."""

  num_classes: int

  @nn.compact
  def __call__(self, images, *, train):
    del train
    x = images.reshape(len(images), -1)
    low = nn.initializers.constant(-1e4)
    x = nn.relu(nn.Dense(8, bias_init=low)(x))
    return nn.Dense(self.num_classes)(x)


def _watch(labels, logits, since=None):
  """A watch over these logits; each pass over them is counted."""
  passes = []

  def clean(output):
    passes.append(1)
    rows = np.asarray(output(jnp.asarray(logits), jnp.asarray(labels)))
    nothing: evaluate.Evaluation = evaluate.Evaluation(None, {"output": rows})  # pyright: ignore[reportArgumentType]
    return nothing

  return outputs.Watch(np.asarray(labels), clean, since), passes


def _row(epoch, accuracy=0.5):
  return {"epoch": epoch, "train/accuracy": accuracy}


LABELS = [0, 1, 0, 1]
SAME = np.tile(np.float32([3.0, -2.0, 0.5]), (4, 1))


@pytest.mark.parametrize(
  "logits",
  [
    SAME,
    np.zeros((4, 3), np.float32),
    SAME * np.float32(1 + 1e-7 * np.arange(4))[:, None],  # rounding
    SAME + np.float32([[0], [5], [1], [2]]),  # no probability differs
  ],
)
def test_equal_logits_are_constant(logits):
  watch, _ = _watch(LABELS, logits)
  assert watch.changed(_row(3)) and watch.since == 3


def test_logits_that_differ_are_not():
  for k in range(3):
    logits = SAME.copy()
    logits[2, k] += 0.01
    watch, passes = _watch(LABELS, logits)
    assert not watch.changed(_row(3)) and watch.since is None
    assert len(passes) == 1


def test_an_accuracy_that_is_no_share_of_a_label_costs_no_pass():
  watch, passes = _watch(LABELS, SAME)
  assert not watch.changed(_row(1, 0.75)) and not passes


def test_the_first_of_the_epochs_up_to_now_is_kept():
  watch, _ = _watch(LABELS, SAME)
  changed = [
    watch.changed(_row(epoch, accuracy))
    for epoch, accuracy in ((1, 0.5), (2, 0.75), (3, 0.5), (4, 0.5))
  ]
  assert changed == [True, True, True, False] and watch.since == 3


def test_what_an_earlier_process_found_holds_up_to_its_state():
  for since, epoch, found in ((2, 5, 2), (5, 3, 3)):
    watch, _ = _watch(LABELS, SAME, since)
    watch.changed(_row(epoch))
    assert watch.since == found


def test_a_dead_network_is_said_and_recorded(
  config, tmp_path, data_dir, capsys
):
  config.model = "tests.outputs_test:Dead()"
  config.num_epochs = 2
  runner.execute(config, str(tmp_path), data_dir, StopAfter())
  assert runs.read(tmp_path).status["constant_since_epoch"] == 1
  assert "constant output since epoch 1" in capsys.readouterr().out
  assert "constant since 1" in console.results_table([("dead", tmp_path)])


def test_a_living_network_is_recorded_as_that(
  config, tmp_path, data_dir, capsys
):
  config.train_split = config.test_split = "train[:320]"
  config.train_examples = 0
  runner.execute(config, str(tmp_path), data_dir, StopAfter())
  status = runs.read(tmp_path).status
  assert status["constant_since_epoch"] is None
  assert status["test_overlap"] == 320
  assert status["attainable"]["test_duplicates"] == 320
  said = capsys.readouterr()
  assert "constant" not in said.out
  assert "320 of 320 test examples are training examples" in said.err
  table = console.results_table([("run", tmp_path)])
  assert "% (320 trained on) |" in table
