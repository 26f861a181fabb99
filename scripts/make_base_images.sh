#!/usr/bin/env bash
# The two base images where no registry can be reached, made by buildah: `bash scripts/make_base_images.sh PYTHON BEAM`.
#
# PYTHON is the name to give to Debian 12 with its own Python, BEAM that of an image with Beam's launcher, which Go builds
# from its module. BEAM_LAUNCHER is the module's version, by default that of requirements.lock. Needs root, debootstrap, Go.
set -euo pipefail
cd "$(dirname "$0")/.."
python="$1" beam="$2"
launcher="${BEAM_LAUNCHER:-v$(sed -n 's/^apache-beam==//p' requirements.lock)}"
work=$(mktemp -d)
container=""

clean_up() {
    [[ -z "$container" ]] || buildah rm "$container" >/dev/null
    chmod -R u+w "$work" && rm -rf "$work"
}
trap clean_up EXIT

make_image() { # NAME: an image of $work/root
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/root" / >/dev/null
    buildah config --env LANG=C.UTF-8 --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --rm "$container" "$1" >/dev/null
    container=""
    rm -rf "$work/root"
    echo "make images: made $1"
}

if ! buildah inspect --type image "$python" >/dev/null 2>&1; then
    debootstrap --variant=minbase --include=ca-certificates,netbase,tzdata,python3,python3-venv,python3-pip \
        bookworm "$work/root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >/dev/null  # else debootstrap's own mirror
    chroot "$work/root" apt-get clean
    rm -rf "$work"/root/var/lib/apt/lists/* "$work"/root/var/log/* "$work"/root/usr/share/{man,locale}
    find "$work/root/usr/share/doc" -type f ! -name copyright -delete
    echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' \
        >"$work/root/etc/apt/apt.conf.d/docker-clean"
    make_image "$python"
fi

if ! buildah inspect --type image "$beam" >/dev/null 2>&1; then
    mkdir -p "$work/root/opt/apache/beam" "$work/bin"
    GOPATH="$work/go" GOBIN="$work/bin" CGO_ENABLED=0 \
        go install -trimpath -ldflags=-s "github.com/apache/beam/sdks/v2/python/container@$launcher"
    mv "$work/bin/container" "$work/root/opt/apache/beam/boot"
    make_image "$beam"
fi
