#!/usr/bin/env bash
# From a fresh checkout to the first result in one command: makes .venv, then runs the quick experiment.
# Arguments go to the experiment: scripts/quickstart.sh --help. PYTHON= and VENV= are explained in scripts/lib.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
prepare
cd "$ROOT"
say "python -m experiments.gecko.run --preset=quick $*"
exec "$VENV/bin/python" -m experiments.gecko.run --preset=quick "$@"
