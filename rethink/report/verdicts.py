"""Verdicts: sentences that say what was fitted and what generalized."""

import statistics
from typing import NamedTuple

from rethink import experiments
from rethink.report import measures, results, tables
from rethink.storage import attained, runs

_TEST = experiments.Column("", "", metric="test/accuracy")


class Verdict(NamedTuple):
  """The answer for one learner.

  Attributes:
    subject: name of the learner.
    answer: the answer, without a full stop.
    details: the numbers behind it.
    paper: the paper's result, "" for none.
    made: number of runs, data, and why they are not comparable with the paper.
  """

  subject: str
  answer: str
  details: str = ""
  paper: str = ""
  made: str = ""


def all_of(experiment: results.Results) -> list[Verdict]:
  """Returns the verdicts of an experiment; unfinished ones come last.

  A verdict is left out if this variant (full size or small) lacks its runs.
  """
  verdicts = []
  own_data = not experiment.source.report.source
  for spec in experiment.source.report.verdicts:
    group = experiment.group(
      spec.runs if isinstance(spec, experiments.EarlyStopping) else spec.random
    )
    if not group.expected:
      continue
    if not group.done:
      states = [*group.unfinished]
      if group.missing:
        states.insert(0, f"{group.missing} of {group.expected} runs missing")
      answer, details = f"— {', '.join(states)}", ""
    elif isinstance(spec, experiments.EarlyStopping):
      answer, details = _early_stopping(group)
    else:
      answer, details = _memorization(spec, experiment)
    made = _origin(group, own_data) if group.done else ""
    verdicts.append(Verdict(spec.name, answer, details, spec.paper, made))
  return sorted(verdicts, key=lambda verdict: not verdict.made)


def _early_stopping(group: results.Group) -> tuple[str, str]:
  gain, top, epoch, last = (
    _mean(_each(group, measure, _TEST))
    for measure in (
      measures.gain_of_early_stopping,
      measures.best,
      measures.best_epoch,
      measures.end,
    )
  )
  return (
    "stopping at the best test accuracy, chosen with hindsight, gains"
    f" {100 * gain:.2f} points",
    f"{_percent(top)} at epoch {epoch:.0f}, {_percent(last)} at the end",
  )


def _memorization(
  spec: experiments.Memorization, experiment: results.Results
) -> tuple[str, str]:
  random = experiment.group(spec.random)
  answer = f"random labels {_fitted(random)}: {_accuracies(random)}"
  if spec.augmented:
    seen = _mean([r.rows[-1]["batch/accuracy"] for r in random.records])
    answer += f", {_percent(seen)} train on augmented images"
  details = [f"{_gap(random)} points with random labels"]
  true = experiment.group(spec.true) if spec.true else None
  if true and true.done and not _same_scale(true, random):
    details.append("true labels were trained at another scale")
  elif true and true.done:
    answer += _extra_epochs(true, random)
    details.append(f"{_gap(true)} with true labels ({_accuracies(true)})")
  noise = experiment.group(spec.noise) if spec.noise else None
  if noise and noise.done and not _same_scale(noise, random):
    details.append("images of noise were trained at another scale")
  elif noise and noise.done:
    answer += f"; images of noise {_fitted(noise)}"
    details.append(f"{_gap(noise)} with images of noise ({_accuracies(noise)})")
  return answer, f"Generalization error {', '.join(details)}"


def _fitted(group: results.Group) -> str:
  rows, n = [record.rows[-1] for record in group.records], len(group.done)
  if runs.method_of(group.records[0]) == "train":
    epochs = max(row["epoch"] for row in rows)
    fitted = len(_epochs(group))
    loss = _mean([row["train/loss"] for row in rows])
    missed = f"to a loss of {group.threshold:g} in {epochs} epochs ({loss:.3f})"
  else:  # solved, not trained: there is no loss curve to compare
    fitted = sum(row["train/accuracy"] == 1 for row in rows)
    missed = "to all labels"
  if fitted == n:
    return "fitted"
  if fitted:
    return f"fitted in {fitted} of {n} runs"
  return f"not fitted {missed}"


def _same_scale(one: results.Group, other: results.Group) -> bool:
  """Returns whether two groups have the same data, model and overrides."""
  first, second = one.records[0], other.records[0]
  return set(one.reduced) == set(other.reduced) and all(
    value(first) == value(second)
    for value in (
      lambda record: record.config["data"]["fingerprint"],
      lambda record: record.status["data"]["train"],
      lambda record: record.config["outcome"].get("model"),
    )
  )


def _extra_epochs(true: results.Group, random: results.Group) -> str:
  """Describes the extra epochs that random labels take to fit.

  Only seeds that fit both true and random labels are averaged.
  """
  base, own = _epochs(true), _epochs(random)
  both = [seed for seed in own if seed in base]
  if not both:
    return ""
  base_epochs = _mean([base[seed] for seed in both])
  own_epochs = _mean([own[seed] for seed in both])
  every = max(
    group.done[seed].config["outcome"]["eval_every_epochs"]
    for group in (true, random)
    for seed in both
  )
  text = f"; after {own_epochs:.0f} epochs"
  if every > 1:
    text += f" (evaluated every {every})"
  if every > 1 and abs(own_epochs - base_epochs) < every:
    text += ", no later than true labels, at this resolution"
  else:
    more = "more" if own_epochs >= base_epochs else "fewer"
    text += (
      f", {abs(own_epochs - base_epochs):.0f} {more} than for true labels"
      f" ({own_epochs / base_epochs:.2f} times)"
    )
  if len(both) < len(random.done):
    text += f", in {len(both)} of {len(random.done)} seeds"
  return text


def _accuracies(group: results.Group) -> str:
  rows = [record.rows[-1] for record in group.records]
  train, test = (
    _percent(_mean([row[f"{split}/accuracy"] for row in rows]))
    for split in ("train", "test")
  )
  return f"{train} train, {test} test"


def _gap(group: results.Group) -> str:
  gap = _mean(_each(group, measures.generalization_error, _TEST))
  return f"{100 * gap:.1f}"


def _origin(group: results.Group, own_data: bool) -> str:
  record = group.records[0]
  data, images = record.config["data"]["name"], record.status["data"]["train"]
  text = f"n = {len(group.done)} of {group.expected}, {data}, {images:,} images"
  if own_data:
    text += f", {tables.learner(record.config['outcome'])}"
  if group.remark:
    text += f" ({group.remark})"
  for part in tables.evaluation_limits(group):
    text += f", {part}"
  if group.reduced:
    text += f"; not comparable with the paper: {'; '.join(group.reduced[:2])}"
    if len(group.reduced) > 2:
      text += f"; and {len(group.reduced) - 2} more"
  return text


def _epochs(group: results.Group) -> dict[str, int]:
  """Returns the epochs to fit, for the seeds that fit."""
  found = {
    seed: attained.epochs_to_fit(record, group.threshold)
    for seed, record in group.done.items()
  }
  return {seed: epoch for seed, epoch in found.items() if epoch is not None}


def _each(group: results.Group, measure, column) -> list[float]:
  found = (
    measure(measures.FinishedRun(record, group.threshold), column)
    for record in group.records
  )
  return [value for value in found if value is not None]


def _mean(values: list) -> float:
  return statistics.fmean(values)


def _percent(fraction: float) -> str:
  return f"{100 * fraction:.2f} %"
