"""What tests share: buckets on this machine, and what Debian provides.

`gs_bucket` and `s3_bucket` give a URL and set the environment; both servers run in threads of the test
process on free ports, so a process the test starts reaches them too.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import uuid
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def gs_server() -> Iterator[str]:
    """Address of a Google Cloud Storage emulator. (It does not enforce generation preconditions.)"""
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield f"http://127.0.0.1:{server._api._httpd.server_port}"
    server.stop()


@pytest.fixture
def gs_bucket(gs_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new empty bucket, `gs://…`."""
    from google.cloud import storage

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs_server)
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    storage.Client.create_anonymous_client().create_bucket(name)
    return f"gs://{name}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server (moto)."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new empty bucket, `s3://…`."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


def _need(what: str, is_there: bool, package: str) -> None:
    """Skips where a system package is missing; fails in CI, where nothing is skipped in silence."""
    if is_there:
        return
    message = f"{what} is not installed; on Debian: apt-get install {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def chromium() -> str:
    """Path of Debian's Chromium, for Playwright's `executable_path`."""
    path = shutil.which("chromium")
    _need("Chromium", path is not None, "chromium")
    return str(path)


@pytest.fixture
def fluidsynth() -> str:
    """Name of FluidSynth's library."""
    name = ctypes.util.find_library("fluidsynth")
    _need("FluidSynth's library", name is not None, "libfluidsynth3")
    return str(name)
