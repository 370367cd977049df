#!/usr/bin/env bash
# Bring what a fresh machine lacks: a virtual environment with the locked packages, the pages' scripts, Chromium, dcmtk,
# PostgreSQL's programs (tests start a private server of them) and two system libraries.
# Run again at any time; it does only what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

"$PYTHON" - <<'CHECK' || fail "Python 3.11 or 3.12 is needed. Install it, or name it: make setup PYTHON=python3.12"
import sys
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
CHECK

lacking=()
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || lacking+=(python3-venv)
command -v chromium >/dev/null || lacking+=(chromium)
command -v storescu >/dev/null || lacking+=(dcmtk)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || lacking+=(postgresql)
has_library() { "$PYTHON" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1" 2>/dev/null; }
has_library libGL.so.1 || lacking+=(libgl1)  # OpenCV, of the finder of text in pixels, loads it and the next
has_library libgthread-2.0.so.0 || lacking+=(libglib2.0-0)
if [ ${#lacking[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    printf 'setup: installing %s\n' "${lacking[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # PostgreSQL's package makes and starts a server; the tests want its programs alone, and start one of their own.
    no_server=/etc/postgresql-common/createcluster.d/carina-set-up.conf
    mkdir -p "${no_server%/*}"
    echo 'create_main_cluster = false' >"$no_server"
    trap 'rm -f "$no_server"' EXIT
    apt-get install -y -qq --no-install-recommends "${lacking[@]}" >/dev/null
  else
    fail "these are missing: ${lacking[*]}. Install them with your system's packages (on Debian: sudo apt-get install ${lacking[*]}) and run this again."
  fi
fi

if [ ! -x .venv/bin/pip ]; then
  rm -rf .venv
  "$PYTHON" -m venv .venv || fail "no virtual environment could be made; on Debian: sudo apt-get install python3-venv"
fi
printf 'setup: installing Python packages\n'
.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt -r requirements/build.txt
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
.venv/bin/python scripts/fetch_assets.py
.venv/bin/python scripts/build_viewer.py || printf 'setup: goes on without the viewer; `make viewer` tries again\n'
touch .venv/carina-set-up
printf 'setup: done\n'
