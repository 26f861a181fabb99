#!/bin/sh
# Installs into /new what /opt/venv lacks of these packages, at the versions of requirements.lock, without headers, tests
# and symbols for debuggers.
#
# The build secrets pip.conf and pip.crt, if there are any, name an index or a certificate; nothing of them stays.
set -eu
export PIP_CONFIG_FILE=/run/secrets/pip.conf PIP_CONSTRAINT=/src/requirements.lock
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

pip --python /opt/venv/bin/python install --progress-bar off --no-warn-script-location --root /new "$@"

cd /new/opt/venv/lib/python*/site-packages
rm -rf tensorflow/include clang/native pyarrow/include
for name in numpy pandas pyarrow matplotlib; do
    if [ -d "$name" ]; then
        find "$name" -type d -name tests -prune -exec rm -rf {} +
    fi
done
for name in tensorflow tensorflow_io tensorflow_io_gcs_filesystem ml_dtypes pyarrow apache_beam zstandard fastavro; do
    if [ -d "$name" ]; then
        find "$name" -type f -name '*.so*' -size +1M -exec strip --strip-unneeded {} +
    fi
done
