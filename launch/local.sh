#!/usr/bin/env bash
# Starts N processes of one run on this machine, to try out a run on many hosts:
#
#   launch/local.sh 2 --config=configs/demo.py:mlp_1x512/true_labels
#
# You do not need this to use all devices of one machine: a single process does.
# On a machine with N GPUs each process gets one of them. Ctrl-C makes all processes
# save the same step and exit with 75; the same command resumes. $PYTHON and $PORT
# override the interpreter and the port of process 0.
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
  # A signal to this script interrupts `wait`, so wait again until the process ends.
  while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
  one=0
  wait "$pid" || one=$?
  ((code)) || code=$one
done
exit "$code"
