"""Names of metrics in rows, and the choice of the best row."""

import pytest

from rethink import errors, metric_names, metrics, settings, specs


def one(logits, labels, a: float = 1.0, b: str = "x"):
  del labels
  return logits[:, 0] * a if b else logits[:, 0]


def loss(logits, labels):
  del labels
  return logits[:, 0]


def true_loss(logits, labels):
  return loss(logits, labels)


def top5_accuracy(logits, labels):
  return loss(logits, labels)


def _resolve(*texts: str) -> tuple[metric_names.Metric, ...]:

  return metric_names.resolve(
    specs.of_module(text, metrics, "metrics") for text in texts
  )


@pytest.mark.parametrize(
  ("text", "name"),
  [
    ("margin()", "margin"),
    ("top_k_accuracy(3)", "top_k_accuracy_k_3"),
    (f"{__name__}:one()", "one"),
    (f"{__name__}:one(b='x')", "one"),
    (f"{__name__}:one(0.5)", "one_a_0.5"),
    (f"{__name__}:one(a=-2.0, b='p/q (r)')", "one_a_-2.0_b_p_q_r"),
  ],
)
def test_a_name_has_the_arguments_that_are_no_defaults(text, name):
  (metric,) = _resolve(text)
  assert metric.name == name
  assert hash(metric) == hash(_resolve(text)[0])


@pytest.mark.parametrize(
  "texts",
  [
    ("loss()",),
    ("accuracy()",),
    ("margin()", "margin()"),
    (f"{__name__}:loss()",),
    (f"{__name__}:true_loss()",),
    (f"{__name__}:top5_accuracy()",),
    (f"{__name__}:one()", f"{__name__}:one(1.0)"),
  ],
)
def test_two_metrics_of_one_name_are_refused(texts):
  with pytest.raises(errors.ConfigError, match="a name that another metric"):
    _resolve(*texts)


def test_the_best_is_the_lowest_where_the_function_says_so(config):
  best = metric_names.best_of(_resolve("margin()", "brier()"))
  assert best["test/accuracy"] == best["train/true_margin"] == 1
  assert best["test/corrupted_loss"] == best["test/brier"] == -1
  config.bookkeeping.best_metric = "test/brier"
  with pytest.raises(errors.ConfigError, match="'test/brier' is not logged"):
    settings.resolve(config)
  config.metrics = ("brier()",)
  settings.resolve(config)


def test_metrics_are_a_part_of_the_outcome_where_there_are_any(config):
  before = settings.resolve(config).outcome
  assert "metrics" not in before  # as in runs that are older than the field
  config.metrics = ("top_k_accuracy(2)",)
  after = settings.resolve(config).outcome
  assert after == {**before, "metrics": ["top_k_accuracy(k=2)"]}
  config.metrics = ("margins()",)
  with pytest.raises(errors.ConfigError, match="there are: accuracy"):
    settings.resolve(config)
