#!/usr/bin/env bash
# Makes .venv from requirements.lock: `bash scripts/make_venv.sh [FOLDER]`; PYTHON3 names a Python to use.
#
# uv takes seconds instead of pip's minutes. Bytecode is compiled here: where Python may write none, every command would
# compile TensorFlow's again, six seconds each time. If uv is unavailable or cannot use pip's configured registry, pip is used.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${1:-.venv}"

fail() {
    echo "make setup: $1" >&2
    exit 2
}

# Runs the candidate, because pyenv leaves a python3.12 on the path that only prints an error.
fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

# Debian's python3 has neither unless python3-venv or python3-pip is installed.
can_make_venv() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 || "$1" -c 'import pip, venv' >/dev/null 2>&1
}

find_python() {
    local candidate without_venv=""
    for candidate in ${PYTHON3:-python3.11 python3.12 python3}; do
        fits "$candidate" || continue
        if can_make_venv "$candidate"; then
            python="$candidate"
            return
        fi
        without_venv="${without_venv:-$candidate}"
    done
    if [[ -n "$without_venv" ]]; then
        local version
        version="$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        fail "$without_venv cannot make a virtual environment; on Debian: apt-get install python$version-venv"
    fi
    fail "no Python 3.11 or 3.12 here${PYTHON3:+ (PYTHON3 is $PYTHON3)}; on Debian 12 or Ubuntu 24.04: apt-get install python3-venv, elsewhere install one with pyenv or uv, and set PYTHON3=/path/to/python3.12"
}

make_venv() {
    find_python
    echo "make setup: $venv with $("$python" --version) ($python)"
    rm -rf "$venv"
    if "$python" -c 'import ensurepip' >/dev/null 2>&1; then
        "$python" -m venv "$venv"
    else
        "$python" -m venv --without-pip "$venv"
        "$python" -m pip --python "$venv/bin/python" install --quiet pip
    fi
}

install_lock() {
    local uv_pinned
    uv_pinned="$(grep '^uv==' requirements.lock)"
    echo "make setup: installing $(grep -c == requirements.lock) packages of requirements.lock"
    if "$venv/bin/python" -m pip install --quiet "$uv_pinned" &&
        "$venv/bin/uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" -r requirements.lock; then
        return
    fi
    echo "make setup: uv failed; using pip, which takes some minutes" >&2
    "$venv/bin/python" -m pip install --progress-bar off --no-deps -r requirements.lock
}

# A .venv that does not run (a moved clone, a removed Python) is replaced.
if ! fits "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    make_venv
fi
install_lock
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e .
touch "$venv/.installed"
