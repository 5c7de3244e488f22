"""Verdicts: sentences that say what was fitted and what generalized.

Every number in them is a cell, computed and formatted as in the tables.
"""

from typing import NamedTuple

from rethink import experiments
from rethink.report import groups, memorization, results, tables

_TEST = experiments.Column("test", "", "end", "test/accuracy")
_BEST = _TEST._replace(measure="best")
_BEST_EPOCH = _TEST._replace(measure="best_epoch", unit="epochs")
_GAIN = _TEST._replace(measure="gain_of_early_stopping", unit="points")


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
  specs = experiment.source.report.verdicts
  schedules = _schedules(experiment)
  found = []
  for spec in specs:
    if isinstance(spec, experiments.Overall):
      found += _overall(spec, experiment)
    elif experiment.group(_runs(spec)).expected:
      found.append(_verdict(spec, experiment, schedules))
  return sorted(found, key=lambda verdict: not verdict.made)


def _runs(spec: experiments.Memorization | experiments.EarlyStopping) -> str:
  return (
    spec.runs if isinstance(spec, experiments.EarlyStopping) else spec.random
  )


def _schedules(experiment: results.Results) -> set[str]:
  """Returns how the runs with random labels were trained, each way once."""
  found = {
    memorization.schedule(record)
    for spec in experiment.source.report.verdicts
    if isinstance(spec, experiments.Memorization)
    for record in experiment.group(spec.random).records
  }
  return found - {""}


def _verdict(
  spec: experiments.Memorization | experiments.EarlyStopping,
  experiment: results.Results,
  schedules: set[str],
) -> Verdict:
  group = experiment.group(_runs(spec))
  if not group.done:
    states = [*group.unfinished]
    if group.missing:
      states.insert(0, f"{group.missing} of {group.expected} runs missing")
    return Verdict(spec.name, f"— {', '.join(states)}", paper=spec.paper)
  if isinstance(spec, experiments.EarlyStopping):
    answer, details = _early_stopping(spec, experiment)
  else:
    answer, details = memorization.answer(spec, experiment)
  made = _origin(group, own_data=not experiment.source.report.source)
  how = memorization.schedule(group.records[0])
  if how and len(schedules) > 1:  # else it is the experiment's own
    made += f"; trained with {how}"
  return Verdict(spec.name, answer, details, spec.paper, made)


def _overall(
  spec: experiments.Overall, experiment: results.Results
) -> list[Verdict]:
  """Returns the strongest answer of several set-ups; nothing without runs."""
  done = [part for part in spec.of if experiment.group(part.random).done]
  if not done:
    return []
  part = min(done, key=lambda one: memorization.strength(one, experiment))
  group = experiment.group(part.random)
  head = memorization.head(part, experiment, f", {part.name.lower()}")
  made = f"n = {len(group.done)} of {group.expected}"
  return [Verdict(spec.name, head, made=made)]


def _early_stopping(
  spec: experiments.EarlyStopping, experiment: results.Results
) -> tuple[str, str]:
  gain, best, epoch, last = (
    experiment.number(spec.runs, column)
    for column in (_GAIN, _BEST, _BEST_EPOCH, _TEST)
  )
  return (
    f"stopping at the best test accuracy, chosen with hindsight, gains {gain}",
    f"{best} at epoch {epoch.removesuffix(' epochs')}, {last} at the end",
  )


def _origin(group: groups.Group, own_data: bool) -> str:
  record = group.records[0]
  data, images = record.config["data"]["name"], record.status["data"]["train"]
  text = f"n = {len(group.done)} of {group.expected}, {data}, {images:,} images"
  if own_data:
    text += f", {tables.learner(record.config['outcome'])}"
  if group.remark:
    text += f" ({group.remark})"
  for part in tables.limits(group):
    text += f", {part}"
  if group.unfinished:
    text += f"; not counted: {', '.join(group.unfinished)}"
  if group.reduced:
    text += f"; not comparable with the paper: {'; '.join(group.reduced[:2])}"
    if len(group.reduced) > 2:
      text += f"; and {len(group.reduced) - 2} more"
  return text
