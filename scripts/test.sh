#!/usr/bin/env bash
# Everything that must hold: makes the environment as quickstart.sh does, then lint, types, tests and doctests.
# Arguments go to pytest: scripts/test.sh tests/structure -k floors. PYTHON= and VENV= are explained in scripts/lib.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# One test opens a report's page in a headless browser. Where it cannot be installed, that test skips and says why.
prepare_browser() {
  local name
  for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then return; fi
  done
  if [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
    say "installing Debian's chromium, for the test of the report page"
    if (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) \
      >"$ROOT/.cache/chromium.log" 2>&1; then
      return
    fi
    say "chromium could not be installed (see .cache/chromium.log)"
  else
    say "no chromium here; the test of the report page will skip"
  fi
}

prepare
prepare_browser
cd "$ROOT"
failed=""
# The whole suite runs in 2 to 4 processes, a file's tests in one of them: apart they would compile the same again. The
# files go out in their own order, which ends with the package's small doctests, so that the processes end together. A
# selection is sooner done in one process, which need not import JAX again.
workers="$(nproc 2>/dev/null || echo 2)"
[[ $# -gt 0 ]] || set -- --numprocesses="$((workers < 2 ? 2 : workers > 4 ? 4 : workers))" --dist=loadfile --no-loadscope-reorder
say "ruff check"
"$VENV/bin/ruff" check . || failed="ruff"
say "basedpyright"
"$VENV/bin/basedpyright" --pythonpath "$VENV/bin/python" || failed="${failed:+$failed and }basedpyright"
say "pytest"
"$VENV/bin/python" -m pytest "$@" || failed="${failed:+$failed and }pytest"
[[ -z "$failed" ]] || fail "$failed failed"
