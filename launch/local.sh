#!/usr/bin/env bash
# N processes of one run on this machine, to try out what many hosts do:
#
#   launch/local.sh 2 --config=configs/demo.py:mlp_1x512/true_labels
#
# A single process uses all devices of a machine already. On one with N GPUs each
# process gets one of them. Ctrl-C saves at the same step in all and exits with 75;
# the same command goes on. $PYTHON and $PORT override what is used.
set -euo pipefail

count=${1:?usage: launch/local.sh N ARGUMENTS OF rethink.main}
shift
port=${PORT:-$((20000 + RANDOM % 10000))}
pids=()
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' INT TERM

for ((i = 0; i < count; i++)); do
  JAX_LOCAL_DEVICE_IDS=$i "${PYTHON:-python}" -m rethink.main "$@" \
    --coordinator="127.0.0.1:$port" --num_processes="$count" --process_id="$i" &
  pids+=($!)
done

code=0
for pid in "${pids[@]}"; do
  # A signal ends `wait`, not the process.
  while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
  one=0
  wait "$pid" || one=$?
  ((code)) || code=$one
done
exit "$code"
