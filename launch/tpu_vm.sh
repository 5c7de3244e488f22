#!/usr/bin/env bash
# One run on a Cloud TPU slice: creates the slice, trains to the end through
# preemptions, and deletes it:
#
#   export TPU=my-run ZONE=us-west4-a TYPE=v5litepod-16 VERSION=v2-alpha-tpuv5-lite
#   launch/tpu_vm.sh run --config=FILE --workdir=gs://BUCKET/FOLDER --data_dir=DIR
#   launch/tpu_vm.sh logs     # in another terminal; `logs 3` shows worker 3
#   launch/tpu_vm.sh delete   # ends the costs; `run` does this at its end
#
# The steps of `run` are also commands: create, install, start, wait. You may stop
# `run` and start it again: it uses a slice that exists. The run directory must be in
# a bucket, because a preempted slice loses its disks. $SETUP is a command that every
# worker executes after the installation (copy or mount the data there).
# $CREATE_FLAGS are flags of `gcloud ... queued-resources create`, by default "--spot".
# docs/running-on-tpu.md explains all steps.
set -euo pipefail

: "${TPU:?a name for the slice}" "${ZONE:?its zone}"
poll=${POLL_SECONDS:-60}
max_tries=${MAX_TRIES:-5}
folder=rethink-run # in the home directory of every worker

queued() { gcloud compute tpus queued-resources "$1" "$TPU" --zone="$ZONE" "${@:2}"; }

on() { # on WORKER COMMAND
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker="$1" --command="$2"
}

state() { # prints the slice's state; NONE: no slice, UNKNOWN: gcloud cannot tell
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

create() { # creates the slice if need be and waits until it is active
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

install() { # installs this commit on all workers, without uncommitted changes
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

start() { # start ARGUMENTS: on all workers; outlives this ssh connection
  local command
  command=$(printf '%q ' .venv/bin/python -m rethink.main --platform=tpu "$@")
  command=$(printf '%q' "$command >> run.log 2>&1; echo \$? > exit_code")
  on all "cd $folder; rm -f exit_code
    if [ -f pid ]; then kill -s KILL -- -\$(cat pid) 2>/dev/null; fi
    setsid nohup sh -c $command < /dev/null > /dev/null 2>&1 & echo \$! > pid"
}

wait_for_end() { # returns the run's exit code, or 75 if the slice was preempted
  local code
  while true; do
    case $(state) in
      ACTIVE | UNKNOWN) ;;
      *) return 75 ;;
    esac
    # A rebooted worker has neither the process nor its exit code: count that as 1.
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
    # The run may be in progress, if this script was stopped and started again.
    case $(on 0 "test -f $folder/pid && echo there || echo new" || true) in
      *there*) began=yes ;;
      *new*) ! { install && start "$@"; } || began=yes ;;
    esac
    if [[ $began ]]; then wait_for_end || code=$?; else code=1; fi
    echo "$TPU: exit code $code"
    case $code in
      0 | 2 | 3 | 4) break ;; # done, or a retry would end in the same way
      75) tries=0 ;;
      *) ((++tries < max_tries)) || break ;;
    esac
    # Start again on the same slice if it still exists.
    if [[ $began && $(state) == ACTIVE ]]; then start "$@" || true; fi
  done
  logs || true
  delete || echo "$TPU may still exist and cost money: run launch/tpu_vm.sh delete" >&2
  return "$code"
}

logs() { on "${1:-0}" "tail -n 100 $folder/run.log"; }

delete() { queued delete --force --quiet; }

case ${1:-} in
  create | install | start | run | logs | delete) "$@" ;;
  wait) wait_for_end ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
