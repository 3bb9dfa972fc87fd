# What quickstart.sh and test.sh share: `prepare` makes the virtual environment, or finds that it is up to date.
#
# PYTHON=...  the interpreter to use (3.11, 3.12 or 3.13); otherwise the first that works is taken
# VENV=...    where the environment goes; .venv in the checkout otherwise
#
# An environment counts as good only when its stamp, written last, names this lock, this setup.py, this Python and this
# place. Anything else is removed and made again, because an interrupted run must leave nothing that is later trusted.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
[[ -n "${VENV:-}" ]] && VENV="$(realpath -m "$VENV")" || VENV="$ROOT/.venv"
STAMP="$VENV/gecko_jax.stamp"
# Compiled modules are kept, apart from the sources, whatever the environment says: with none of them each start of
# Python takes 8 seconds more, and the tests start it dozens of times.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="$ROOT/.cache/bytecode"
UV_VERSION=0.13.9 # installs the lock several times faster than pip does

say() { printf '==> %s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Prints "3.12.1 0 /path/of/the/real/interpreter" (the 0: whether ensurepip is there). Fails where the candidate does not
# run, as a version manager's shim may, or is not a CPython that the lock serves.
probe() {
  "$1" -c '
import importlib.util, platform, sys, sysconfig
if not (3, 11) <= sys.version_info[:2] <= (3, 13) or platform.python_implementation() != "CPython":
    sys.exit(1)
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(1)
complete = importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")
print(platform.python_version(), 0 if complete else 1, getattr(sys, "_base_executable", None) or sys.executable)
' 2>/dev/null
}

# Sets PYTHON_VERSION and PYTHON_PATH.
find_python() {
  local candidate found missing incomplete="" candidates
  if [[ -n "${PYTHON:-}" ]]; then
    candidates=("$PYTHON")
  else
    candidates=(python3.13 python3.12 python3.11 python3 "${HOME:-}"/.pyenv/versions/*/bin/python)
  fi
  for candidate in "${candidates[@]}"; do
    found="$(probe "$candidate")" || continue
    read -r PYTHON_VERSION missing PYTHON_PATH <<<"$found"
    [[ "$missing" == 0 ]] && return
    incomplete="${incomplete:-$PYTHON_VERSION $PYTHON_PATH}"
  done
  if [[ -n "$incomplete" ]]; then
    read -r PYTHON_VERSION PYTHON_PATH <<<"$incomplete"
    fail "$PYTHON_PATH ($PYTHON_VERSION) cannot make virtual environments: its ensurepip module is missing." \
      "On Debian and Ubuntu: apt-get install python${PYTHON_VERSION%.*}-venv"
  fi
  if [[ -n "${PYTHON:-}" ]]; then
    fail "PYTHON=$PYTHON does not run, or is not CPython 3.11, 3.12 or 3.13." \
      "Unset it to have one looked for, or name another: PYTHON=/path/to/python3.12 $0"
  fi
  fail "no working Python 3.11, 3.12 or 3.13 was found among: ${candidates[*]}." \
    "Install one (Debian and Ubuntu: apt-get install python3 python3-venv), or name it: PYTHON=/path/to/python3.12 $0"
}

# The text that the stamp must hold for a Python version.
fingerprint() {
  printf '%s\n' "python $1" "checkout $ROOT" "inputs $(cat "$ROOT/requirements.lock" "$ROOT/setup.py" | sha256sum | cut -d' ' -f1)"
}

up_to_date() {
  local version
  [[ -f "$STAMP" ]] || return 1
  version="$("$VENV/bin/python" -c 'import platform; print(platform.python_version())' 2>/dev/null)" || return 1
  if [[ -n "${PYTHON:-}" ]]; then
    find_python
    [[ "$version" == "$PYTHON_VERSION" ]] || return 1
  fi
  [[ "$(cat "$STAMP")" == "$(fingerprint "$version")" ]]
}

# pip and uv both check every file against the lock's hashes.
install_packages() {
  local uv="" log="$VENV/install.log"
  if command -v uv >/dev/null && uv --version >/dev/null 2>&1; then
    uv="$(command -v uv)"
  elif "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" >"$log" 2>&1; then
    uv="$VENV/bin/uv"
  else
    say "uv $UV_VERSION could not be installed (see $log)"
  fi
  if [[ -n "$uv" ]]; then
    if "$uv" pip install --quiet --python "$VENV/bin/python" --require-hashes -r "$ROOT/requirements.lock" 2>"$log"; then
      return
    fi
    tail -n 5 "$log" >&2
    say "uv could not install the lock; trying pip (slower)"
  fi
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$ROOT/requirements.lock"
}

build() {
  find_python
  if [[ -e "$VENV" && "$VENV" != "$ROOT/.venv" && ! -f "$VENV/pyvenv.cfg" && ! -f "$STAMP" && -n "$(ls -A "$VENV")" ]]; then
    fail "VENV=$VENV exists and is not a virtual environment; it would be erased. Name another place."
  fi
  say "making $VENV with Python $PYTHON_VERSION ($PYTHON_PATH)"
  rm -rf "$VENV"
  mkdir -p "$VENV"
  echo unfinished >"$STAMP"
  "$PYTHON_PATH" -m venv "$VENV"
  say "installing $(grep -c '^[a-z]' "$ROOT/requirements.lock") pinned packages from requirements.lock"
  install_packages
  say "installing the checkout itself (editable)"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable "$ROOT"
  fingerprint "$PYTHON_VERSION" >"$STAMP.new"
  mv "$STAMP.new" "$STAMP"
}

# One run at a time makes the environment; a second one waits, and then finds it made.
prepare() {
  mkdir -p "$ROOT/.cache"
  (
    if command -v flock >/dev/null; then flock 9; fi
    if up_to_date; then
      say "environment $VENV is up to date"
    else
      build
    fi
  ) 9>"$ROOT/.cache/setup.lock"
}
