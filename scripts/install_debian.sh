#!/usr/bin/env bash
# Debian packages for the tests: Chromium (opens the report) and Postgres (keeps a study of trainer.tune).
#
# Installs what is missing if this user has permission, and otherwise says what to install. With CI=true a missing package
# is a failure, because skipped tests would go unnoticed.
set -euo pipefail
cd "$(dirname "$0")/.."

find_missing() {
    missing=()
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
    command -v chromium >/dev/null || missing+=(chromium)
}

find_missing
[[ ${#missing[@]} -eq 0 ]] && exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
    as_root=(sudo -n)
fi
if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
    echo "make test: installing from Debian: ${missing[*]}"
    if ! {
        "${as_root[@]}" apt-get update -q &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get install -q -y --no-install-recommends "${missing[@]}"
    } >apt.log 2>&1; then
        tail -n 20 apt.log >&2
    fi
    rm -f apt.log
    find_missing
    [[ ${#missing[@]} -eq 0 ]] && exit 0
fi

echo "make test: not installed: ${missing[*]}; on Debian: apt-get install ${missing[*]}" >&2
if [[ "${CI:-}" == true ]]; then
    exit 1
fi
echo "make test: the tests that need them are skipped" >&2
