#!/usr/bin/env bash
# Builds a Kubernetes control plane from its Go modules, for `make test-cluster`: etcd, kube-apiserver and
# kube-controller-manager, and Kueue's definitions. Needs Go 1.26, 4 GB of disk and ten minutes of processor time; a
# second run takes none.
# JobSet is not served as a Go module: put the definition of a release (config/components/crd/bases) into
# FOLDER/definitions.
#   bash scripts/build_kubernetes.sh FOLDER
set -euo pipefail
folder=${1:?"want the folder for the programs"}
kubernetes=1.36.3
kueue=0.17.0
done_mark=$folder/kubernetes-$kubernetes-kueue-$kueue
[[ -e $done_mark ]] && exit 0
if ! compgen -G "$folder/definitions/*jobset*.yaml" >/dev/null; then
  echo "make test-cluster: no definition of JobSet in $folder/definitions: copy it there, from config/components/crd/bases" \
    "of https://github.com/kubernetes-sigs/jobset" >&2
  exit 2
fi

mkdir -p "$folder/build"
folder=$(realpath "$folder")
cd "$folder/build"
go_mod=$(go mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')
{
  echo "module control_plane"
  grep '^go ' "$go_mod"
  echo "require k8s.io/kubernetes v$kubernetes"
  # Its own parts are at v0.0.0 there, which only its repository has; they are published as v0.36.3.
  sed -n "s/^\t\(k8s.io\/[a-z-]*\) v0\.0\.0$/replace \1 => \1 v0.${kubernetes#*.}/p" "$go_mod"
} > go.mod
programs=(k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager} go.etcd.io/etcd/server/v3)
{
  printf '//go:build tools\n\npackage control_plane\n\nimport (\n'
  printf '\t_ "%s"\n' "${programs[@]}"
  echo ')'
} > tools.go
go mod tidy 2> tidy.log || { cat tidy.log >&2; exit 1; }
version=k8s.io/component-base/version
flags="-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${kubernetes:2:2}"
# Not optimised: that compiles in a fraction of the time, and this cluster is small.
fast=(-gcflags "all=-N -l -dwarf=false")
go build "${fast[@]}" -ldflags "$flags" -o "$folder/" "${programs[@]:0:2}"
go build "${fast[@]}" -ldflags "-s -w" -o "$folder/etcd" "${programs[2]}"

definitions=$(go mod download -json "sigs.k8s.io/kueue@v$kueue" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')/config/components/crd/bases
cp --no-preserve=mode "$definitions"/*.yaml "$folder/definitions/"
touch "$done_mark"
