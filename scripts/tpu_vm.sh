#!/usr/bin/env bash
# A study on a Cloud TPU VM: makes the machine, sets it up, runs a command there, shows its log, brings back its results
# and deletes it. docs/accelerators.md walks through it.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
# The environment sets the defaults, the flags what differs.
NAME="${TPU_NAME:-gecko-jax}" ZONE="${TPU_ZONE:-us-west4-a}" TYPE="${TPU_TYPE:-v5litepod-8}"
VERSION="${TPU_VERSION:-v2-alpha-tpuv5-lite}" PROJECT="${TPU_PROJECT:-}" SPOT="" DRY_RUN="" FOLLOW=""

usage() {
  cat <<TEXT
usage: scripts/tpu_vm.sh COMMAND [flags] [-- what to run]

  create              makes the TPU VM
  setup               copies the files that git tracks, and installs them with jax[tpu]; again after a change
  run -- MODULE ...   runs python -m MODULE ... there, in the background: the connection may end
  logs                shows the end of the run's log; --follow: until Ctrl-C
  fetch               copies the folder runs/ of the first host here
  delete              deletes the TPU VM and all that is on it; gcloud asks before

  --name=$NAME  --zone=$ZONE  --type=$TYPE  --version=$VERSION  --project=${PROJECT:-gcloud's own}
  --spot              a machine that costs less and may be taken away at any time; a run goes on from its last checkpoint
  --dry-run           prints the commands and does nothing

example:
  scripts/tpu_vm.sh create && scripts/tpu_vm.sh setup
  scripts/tpu_vm.sh run -- experiments.audit.run --preset=paper
TEXT
}

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Runs a command; a dry run prints it instead, as a shell would read it.
call() {
  if [[ -n "$DRY_RUN" ]]; then
    printf '%s\n' "${*@Q}"
  else
    "$@"
  fi
}

tpu() {
  local verb="$1"
  shift
  call gcloud compute tpus tpu-vm "$verb" "$@" "--zone=$ZONE" ${PROJECT:+"--project=$PROJECT"}
}

# All hosts of a slice have to run the same: JAX waits for all of them before it sees a chip.
on_all_hosts() { tpu ssh "$NAME" --worker=all "--command=$1"; }

create() { tpu create "$NAME" "--accelerator-type=$TYPE" "--version=$VERSION" ${SPOT:+--spot}; }

setup() {
  local archive
  archive="$(mktemp --dry-run --suffix=.tar.gz)"
  call git -C "$ROOT" archive --format=tar.gz "--output=$archive" HEAD
  tpu scp "$archive" "$NAME:gecko_jax.tar.gz" --worker=all
  # The images have Python 3.10, which is too old; uv brings one along.
  on_all_hosts 'set -e; mkdir -p gecko_jax; tar -xzf gecko_jax.tar.gz -C gecko_jax; cd gecko_jax
command -v ~/.local/bin/uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
~/.local/bin/uv venv --quiet --allow-existing --python 3.12 .venv
~/.local/bin/uv pip install --quiet --python .venv/bin/python -r requirements.lock --require-hashes
~/.local/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
version=$(.venv/bin/python -c "import importlib.metadata as m; print(m.version(\"jax\"))")
~/.local/bin/uv pip install --quiet --python .venv/bin/python "jax[tpu]==$version"
.venv/bin/python -c "import jax; print(jax.devices())"'
  if [[ -z "$DRY_RUN" ]]; then rm -f "$archive"; fi
}

run() {
  [[ $# -gt 0 ]] || fail "run needs a module: scripts/tpu_vm.sh run -- experiments.audit.run --preset=paper"
  on_all_hosts "set -e; cd gecko_jax; mkdir -p runs
if kill -0 \"\$(cat runs/pid 2>/dev/null)\" 2>/dev/null; then echo 'error: a run is under way; see logs.' >&2; exit 1; fi
nohup .venv/bin/python -m ${*@Q} >runs/log.txt 2>&1 </dev/null & echo \$! >runs/pid"
}

logs() { tpu ssh "$NAME" --worker=0 "--command=tail -n 100 ${FOLLOW:+-F }gecko_jax/runs/log.txt"; }

fetch() { tpu scp --recurse "$NAME:gecko_jax/runs" "$ROOT" --worker=0; }

delete() { tpu delete "$NAME"; }

[[ $# -gt 0 ]] || { usage >&2; exit 1; }
COMMAND="$1" WORDS=()
shift
while [[ $# -gt 0 ]]; do
  case "$1" in
    --name=?* | --zone=?* | --type=?* | --version=?* | --project=?*)
      word="${1%%=*}" && word="${word#--}" && printf -v "${word^^}" '%s' "${1#*=}" ;;
    --spot) SPOT=1 ;;
    --dry-run) DRY_RUN=1 ;;
    --follow) FOLLOW=1 ;;
    --)
      shift
      WORDS=("$@")
      break
      ;;
    *) fail "unknown flag '$1'. What to run stands behind --: scripts/tpu_vm.sh run -- MODULE. See scripts/tpu_vm.sh help" ;;
  esac
  shift
done
case "$COMMAND" in
  create | setup | run | logs | fetch | delete) ;;
  help | --help | -h) usage && exit 0 ;;
  *) fail "unknown command '$COMMAND'; expected create, setup, run, logs, fetch or delete. See scripts/tpu_vm.sh help" ;;
esac
[[ "$NAME" =~ ^[a-z][a-z0-9-]{0,61}$ ]] || fail "--name=$NAME must be small letters, digits and hyphens, a letter first."
[[ "$COMMAND" == run || ${#WORDS[@]} == 0 ]] || fail "'$COMMAND' takes nothing behind --; only run does."
if [[ -z "$DRY_RUN" ]]; then
  command -v gcloud >/dev/null || fail "gcloud is missing. Install the Google Cloud CLI (https://cloud.google.com/sdk), or look with --dry-run."
fi
"$COMMAND" ${WORDS[@]+"${WORDS[@]}"}
