"""What tests share: buckets on this machine, and programs that Debian provides.

`gs_bucket` and `s3_bucket` give a URL and set the environment; both servers run in threads of the test
process on free ports, so a process the test starts reaches them too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import postgres_server, servers

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
os.environ["MIDI_LSTM_CACHE"] = "off"  # commands that tests start compile as on a new machine
SLOW_SECONDS = 1800  # that a slow test may take; others have `timeout` of pyproject.toml


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.GcsServer]:
    """Google Cloud Storage. (It does not enforce generation preconditions.)"""
    with servers.gcs(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture
def gs_bucket(gcs_server: servers.GcsServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new empty bucket, `gs://…`."""
    from google.cloud import storage

    for name, value in gcs_server.emulator_env.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    storage.Client.create_anonymous_client().create_bucket(name)
    return f"gs://{name}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server (moto)."""
    with servers.s3() as address:
        yield address


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new empty bucket, `s3://…`."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in servers.s3_env(s3_server).items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, which is soon full."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True)
    if mounting.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounting.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _need(what: str, is_there: bool, package: str) -> None:
    """Skips where a system package is missing; fails in CI, where nothing is skipped in silence."""
    if is_there:
        return
    message = f"{what} is not installed; on Debian: apt-get install {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, controlled by playwright."""
    path = shutil.which("chromium")
    _need("Chromium", path is not None, "chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def postgres() -> Iterator[str]:
    """A new Postgres server with the user tune; `host:port`."""
    binaries = postgres_server.binaries()
    _need("Postgres", binaries is not None, "postgresql")
    with postgres_server.serve(str(binaries)) as address:
        yield address
