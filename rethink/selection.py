"""Which of an experiment's runs a sweep or a report is about."""

import fnmatch
import re

from rethink import experiments


def choose(
  runs: experiments.Runs, group: str, only: str = "*", seeds: int = 1
) -> list[str]:
  """Names of the runs that a sweep is about, in the order of the experiment.

  Args:
    runs: all there are.
    group: the first part of their names; "" is all but the smoke variants.
    only: a pattern, as in a shell.
    seeds: of runs that end in "/seed<k>" those with k < seeds, unless the
      pattern speaks of seeds itself.
  """

  def wanted(name: str) -> bool:
    seed = re.search(r"/seed(\d+)$", name)
    few = not seed or int(seed[1]) < seeds or "seed" in only
    inside = name.startswith(f"{group}/") if group else not is_smoke(name)
    return few and inside and fnmatch.fnmatch(name, only)

  return [name for name in runs if wanted(name)]


def is_smoke(name: str) -> bool:
  """Whether a run is a small variant."""
  return name.startswith(experiments.SMOKE)
