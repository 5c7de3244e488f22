"""The verdict on memorization: yes, partly, no, or that it cannot be told."""

import statistics

from rethink import experiments
from rethink.report import groups, judgements, results
from rethink.storage import bounds, runs

_TRAIN = experiments.Column("train", "", "end", "train/accuracy")
_TEST = experiments.Column("test", "", "end", "test/accuracy")
_BATCH = experiments.Column("batch", "", "end", "batch/accuracy")
_LOSS = experiments.Column("loss", "", "end", "train/loss", "nats")
_GAP = experiments.Column("gap", "", "generalization_error", unit="points")
_FIT = experiments.Column("fit", "", "epochs_to_fit", unit="epochs")
_RELATIVE = experiments.Column(
  "relative", "", "relative_epochs_to_fit", unit="times"
)
_RANDOM = {
  judgements.Judgement.YES: "yes, it memorizes random labels",
  judgements.Judgement.PARTLY: "partly, it memorizes some random labels",
  judgements.Judgement.NO: "no, it does not memorize random labels",
  judgements.Judgement.UNKNOWN: (
    "whether it memorizes random labels cannot be told"
  ),
}
_IN_SOME = "partly, it memorizes random labels"
_NOISE = {
  judgements.Judgement.YES: "images of noise are memorized",
  judgements.Judgement.PARTLY: "images of noise are partly memorized",
  judgements.Judgement.NO: "images of noise are not memorized",
  judgements.Judgement.UNKNOWN: "for images of noise it cannot be told",
}


def answer(
  spec: experiments.Memorization, experiment: results.Results
) -> tuple[str, str]:
  """Returns the answer and the numbers behind it, for runs that are done."""
  random = experiment.group(spec.random)
  text = head(spec, experiment)
  if spec.augmented:
    seen = experiment.number(spec.random, _BATCH)
    text += f", {seen} train on augmented images"
  gap = experiment.number(spec.random, _GAP)
  details = [*_losses(random, experiment)]
  gaps = [f"generalization error {gap} with random labels"]
  true = experiment.group(spec.true) if spec.true else None
  if true and true.done:
    other = _other_set_up(true, random)
    if other:
      details.append(f"true labels were trained {other}")
    else:
      text += _epochs(spec, experiment)
      gaps.append(
        f"{experiment.number(spec.true, _GAP)} with true labels"
        f" ({_accuracies(spec.true, experiment)})"
      )
  noise = experiment.group(spec.noise) if spec.noise else None
  if noise and noise.done:
    other = _other_set_up(noise, random)
    if other:
      details.append(f"images of noise were trained {other}")
    else:
      text += f"; {_NOISE[_judge(noise, _chance(random))]}"
      text += f": {experiment.number(spec.noise, _TRAIN)} train"
      gaps.append(
        f"{experiment.number(spec.noise, _GAP)} with images of noise"
        f" ({_accuracies(spec.noise, experiment)})"
      )
  details.append(", ".join(gaps))
  return text, ". ".join(part[0].upper() + part[1:] for part in details)


def head(
  spec: experiments.Memorization, experiment: results.Results, inside: str = ""
) -> str:
  """Returns the answer in plain words, with accuracies, ceiling and chance.

  Args:
    spec: a verdict whose runs with random labels are done.
    experiment: it has the runs.
    inside: text after the first words.
  """
  group = experiment.group(spec.random)
  yes = sum(
    judgements.judge(record) is judgements.Judgement.YES
    for record in group.records
  )
  words = _RANDOM[_judge(group)]
  if 0 < yes < len(group.records):
    words = f"{_IN_SOME} in {yes} of {len(group.records)} runs"
  words += inside
  known = [bounds.of(record) for record in group.records]
  dead = [b.constant_since for b in known if b.constant_since is not None]
  if len(dead) == len(known):
    words += (
      ", as the network is dead: its output is the same for every image since"
      f" epoch {max(dead)}"
    )
  limits = []
  ceiling = min(bound.ceiling for bound in known)
  if ceiling < 1.0:
    limits.append(f"of at most {_percent(ceiling)}")
  chance = _chance(group)
  limits.append(
    "chance is not recorded" if chance is None else f"chance {_percent(chance)}"
  )
  train, test = (
    experiment.number(spec.random, column) for column in (_TRAIN, _TEST)
  )
  return f"{words}: {train} train ({', '.join(limits)}), {test} test"


def strength(
  spec: experiments.Memorization, experiment: results.Results
) -> int:
  """Returns 0 for the strongest answer, yes, and more for weaker ones."""
  return list(judgements.Judgement).index(_judge(experiment.group(spec.random)))


def schedule(record: runs.Record) -> str:
  """Returns how a run was trained; "" if it was not."""
  if runs.method_of(record) != "train":
    return ""
  outcome = record.config["outcome"]
  return (
    f"learning rate {outcome['learning_rate']:g},"
    f" {outcome['schedule']} over {outcome['num_epochs']:,} epochs"
  )


def _judge(
  group: groups.Group, chance: float | None = None
) -> judgements.Judgement:
  return judgements.overall(
    [judgements.judge(record, chance) for record in group.records]
  )


def _chance(group: groups.Group) -> float | None:
  """Returns the highest accuracy of not looking at the images, over seeds."""
  found = [judgements.chance_of(record) for record in group.records]
  return max((c for c in found if c is not None), default=None)


def _losses(group: groups.Group, experiment: results.Results) -> list[str]:
  """Describes the final loss beside the threshold; [] without training."""
  if runs.method_of(group.records[0]) != "train":
    return []
  loss = experiment.number(group.name, _LOSS)
  fitted = experiment.cell(experiments.Row((), group.name), _FIT)
  epochs = max(record.rows[-1]["epoch"] for record in group.records)
  goal = f"{group.threshold:g}"
  floor = max(bounds.of(record).loss_floor for record in group.records)
  if floor:
    goal += f" above the lowest that can be attained, {floor:.4f},"
  when = results.with_unit(fitted, _FIT)
  reached = f"reached after {when}" if fitted.values else "never reached"
  return [
    f"clean train loss {loss} after {epochs} epochs; the fit threshold of"
    f" {goal} was {reached}"
  ]


def _other_set_up(one: groups.Group, other: groups.Group) -> str:
  """Returns how two groups differ in what a comparison holds fixed, or ""."""
  first, second = one.records[0], other.records[0]
  if set(one.reduced) != set(other.reduced) or any(
    value(first) != value(second)
    for value in (
      lambda record: record.config["data"]["fingerprint"],
      lambda record: record.status["data"]["train"],
      lambda record: record.config["outcome"].get("model"),
    )
  ):
    return "at another scale"
  if schedule(first) != schedule(second):
    return f"with another schedule ({schedule(first)})"
  return ""


def _epochs(spec: experiments.Memorization, experiment: results.Results) -> str:
  """Describes the epochs of random labels beside those of true labels."""
  relative = _relative_column(spec, experiment)
  row = experiments.Row((), spec.random, baseline=spec.true)
  measure = relative.measure.removeprefix("relative_")
  own = relative._replace(measure=measure, unit="epochs")
  epochs, ratio = experiment.cell(row, own), experiment.cell(row, relative)
  if not epochs.values:
    return ""
  fitted = "fitted"
  if relative.level:
    fitted = f"within {relative.level:g} nats of its final loss"
  text = f"; {fitted} after {results.with_unit(epochs, own)}"
  every = max(
    record.config["outcome"]["eval_every_epochs"]
    for group in (spec.random, spec.true)
    for record in experiment.group(group).records
  )
  if every > 1:
    text += f" (evaluated every {every})"
  late = experiment.by_seed(row, own)
  early = experiment.by_seed(row._replace(runs=spec.true), own)
  later = [
    one - other
    for one, other in ((late[s], early.get(s)) for s in late)
    if one is not None and other is not None
  ]
  if every > 1 and later and abs(statistics.fmean(later)) < every:
    return f"{text}, no later than true labels, at this resolution"
  if ratio.values:
    words = " as many as for true labels"
    text += f", {results.with_unit(ratio, relative, words)}"
  return text


def _relative_column(
  spec: experiments.Memorization, experiment: results.Results
) -> experiments.Column:
  """Returns the column of a table that compares these runs, or a usual one."""
  for table in experiment.source.report.tables:
    if any(
      (row.runs, row.baseline) == (spec.random, spec.true) for row in table.rows
    ):
      for column in table.columns:
        if column.measure.startswith("relative_"):
          return column
  return _RELATIVE


def _accuracies(runs_name: str, experiment: results.Results) -> str:
  train, test = (
    experiment.number(runs_name, column) for column in (_TRAIN, _TEST)
  )
  return f"{train} train, {test} test"


def _percent(fraction: float) -> str:
  return f"{results.format_number(100 * fraction, '%')} %"
