#!/usr/bin/env bash
# All runs of the paper's tables and figures at full size, on one machine with a GPU,
# in slices of time: each call works for SECONDS at most, saves, and ends with 75 while
# runs are left, with 0 when all are done. The same command again continues.
#
#   DATA_DIR=data RUNS=runs launch/full_size.sh 540
#
# DATA_DIR holds the prepared data sets cifar10_jpeg (or another one that DATASET
# names) and, for Table 2, imagenet_sample. SEEDS (3) is the number of seeds. RECORDS
# (records.tar) gets what reports need of the finished runs, without their states.
# ONLY restricts the list to experiments whose line matches it, and SCALE=smoke runs
# the small variants, which rehearse the whole script on a CPU in minutes.
set -uo pipefail

seconds=${1:?usage: launch/full_size.sh SECONDS}
python=${PYTHON:-python}
data=${DATA_DIR:?DATA_DIR is the folder of prepared data sets}
runs=${RUNS:-runs}
records=${RECORDS:-records.tar}
group=${SCALE:+:$SCALE}
end=$((SECONDS + seconds))

# Experiment, pattern of its runs, dataset: the most wanted results first.
list="
table1_cifar10 */seed* cifar
fig1_randomization */seed* cifar
fig2_implicit */seed* cifar
table4_random_labels */seed* cifar
imagenet_sample */75px/* photos
imagenet_sample */299px/* photos
"

left=0 failed=0
while read -r experiment pattern kind; do
  [[ -n $experiment && "$experiment $pattern" =~ ${ONLY:-.} ]] || continue
  rest=$((end - SECONDS))
  # Less is not worth the start of a process and its compilation.
  if ((rest < ${LEAST:-30})); then
    left=1
    break
  fi
  fields=()
  if [[ -z $group && $kind == cifar ]]; then
    fields=(-- "dataset=${DATASET:-cifar10_jpeg}")
  fi
  # SIGTERM makes a run save its state and end with 75.
  timeout --signal=TERM --kill-after=120 "$rest" "$python" -m rethink.sweep \
    --config="configs/$experiment.py$group" --only="${group:+smoke/}$pattern" \
    --seeds="${SEEDS:-3}" --runs="$runs" --data_dir="$data" "${fields[@]}"
  code=$?
  case $code in
    0) ;;
    75 | 124) left=1 && break ;;
    *)
      echo "full_size: $experiment $pattern ended with $code" >&2
      failed=1
      ;;
  esac
done <<<"$list"

kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
if "$python" -m rethink.report --runs="$runs" --out="$kept/reports" \
  --keep="$kept/runs" >"$kept/report.txt"; then
  tar -cf "$records.partial" -C "$kept" runs && mv "$records.partial" "$records"
  echo "full_size: records of $(find "$kept/runs" -name config.json | wc -l)" \
    "finished runs are in $records"
fi
((failed == 0)) || exit 1
((left == 0)) || exit 75
