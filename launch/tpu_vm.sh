#!/usr/bin/env bash
# One run on a Cloud TPU slice, from nothing to its end, through preemptions:
#
#   export TPU=my-run ZONE=us-west4-a TYPE=v5litepod-16 VERSION=v2-alpha-tpuv5-lite
#   launch/tpu_vm.sh run --config=FILE --workdir=gs://BUCKET/FOLDER --data_dir=DIR
#   launch/tpu_vm.sh logs     # in another terminal; `logs 3` of worker 3
#   launch/tpu_vm.sh delete   # stops paying; `run` does it at the end
#
# The steps of `run` one by one: create, install, start, wait. It may itself be
# stopped and started again: what is there is used. A slice loses its disks when it
# is preempted, hence the bucket. $SETUP is a command for every worker after
# installing (copy or mount the data); $CREATE_FLAGS go to
# `gcloud ... queued-resources create`, "--spot" by default.
# docs/running-on-tpu.md walks through it.
set -euo pipefail

: "${TPU:?a name for the slice}" "${ZONE:?its zone}"
poll=${POLL_SECONDS:-60}
max_tries=${MAX_TRIES:-5}
folder=rethink-run # on every worker, in the home directory

queued() { gcloud compute tpus queued-resources "$1" "$TPU" --zone="$ZONE" "${@:2}"; }

on() { # on WORKER COMMAND
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker="$1" --command="$2"
}

state() { # of the slice: NONE if there is none, UNKNOWN if gcloud cannot say now
  local said errors
  errors=$(mktemp)
  if said=$(queued describe --format='value(state.state)' 2>"$errors"); then
    echo "${said:-UNKNOWN}"
  elif grep -q NOT_FOUND "$errors"; then
    echo NONE
  else
    cat "$errors" >&2
    echo UNKNOWN
  fi
  rm -f "$errors"
}

create() { # returns when the slice is there
  local now failed=0
  while true; do
    now=$(state)
    echo "$TPU: $now"
    case $now in
      ACTIVE) return ;;
      NONE)
        # shellcheck disable=SC2086 # several flags
        queued create --node-id="$TPU" --accelerator-type="${TYPE:?}" \
          --runtime-version="${VERSION:?}" ${CREATE_FLAGS---spot} ||
          ((++failed < max_tries)) || return 1
        ;;
      SUSPENDED) delete || true ;;
      FAILED)
        queued describe --format='value(state.failedData.error.message)' || true
        delete || true
        ((++failed < max_tries)) || return 1
        ;;
    esac
    sleep "$poll"
  done
}

install() { # this commit, on all workers; what is not committed stays behind
  local bundle
  bundle=$(mktemp -d)/rethink.bundle
  git bundle create -q "$bundle" HEAD &&
    gcloud compute tpus tpu-vm scp "$bundle" "$TPU:" --zone="$ZONE" --worker=all &&
    on all "set -e; rm -rf $folder; git clone -q rethink.bundle $folder; cd $folder
    python3 -m pip install -q --user uv
    ~/.local/bin/uv venv -q --python 3.12
    ~/.local/bin/uv pip install -q -c constraints.txt -e '.[tpu]'
    ${SETUP:-true}"
}

start() { # start ARGUMENTS: on all workers, not tied to this connection
  local command
  command=$(printf '%q ' .venv/bin/python -m rethink.main --platform=tpu "$@")
  command=$(printf '%q' "$command >> run.log 2>&1; echo \$? > exit_code")
  on all "cd $folder; rm -f exit_code
    if [ -f pid ]; then kill -s KILL -- -\$(cat pid) 2>/dev/null; fi
    setsid nohup sh -c $command < /dev/null > /dev/null 2>&1 & echo \$! > pid"
}

wait_for_end() { # its exit code; 75 if the slice was taken away
  local code
  while true; do
    case $(state) in
      ACTIVE | UNKNOWN) ;;
      *) return 75 ;;
    esac
    # A worker that was rebooted has no process, and none that says how it ended.
    code=$(on 0 "cd $folder; if ! kill -s 0 -- -\$(cat pid) 2>/dev/null; then
      cat exit_code 2>/dev/null || echo 1; fi") || code=
    [[ -z $code ]] || return "$code"
    sleep "$poll"
  done
}

run() {
  local code began tries=0
  while true; do
    create
    code=0 began=
    # It may run already: this script was stopped and started again.
    case $(on 0 "test -f $folder/pid && echo there || echo new" || true) in
      *there*) began=yes ;;
      *new*) ! { install && start "$@"; } || began=yes ;;
    esac
    if [[ $began ]]; then wait_for_end || code=$?; else code=1; fi
    echo "$TPU: exit code $code"
    case $code in
      0 | 2 | 3 | 4) break ;; # done, or not to be mended by another try
      75) tries=0 ;;
      *) ((++tries < max_tries)) || break ;;
    esac
    # On the same slice, if that is still there.
    if [[ $began && $(state) == ACTIVE ]]; then start "$@" || true; fi
  done
  logs || true
  delete || echo "$TPU may still be there, and cost money" >&2
  return "$code"
}

logs() { on "${1:-0}" "tail -n 100 $folder/run.log"; }

delete() { queued delete --force --quiet; }

case ${1:-} in
  create | install | start | run | logs | delete) "$@" ;;
  wait) wait_for_end ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
