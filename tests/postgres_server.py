"""A Postgres server on this machine, for the fixture `postgres`."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

PASSWORD = "correct-horse"  # of the user tune


def binaries() -> str | None:
    """The folder of Debian's newest Postgres."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    return found[-1] if found else None


@contextlib.contextmanager
def serve(binaries: str) -> Iterator[str]:
    """A new server with an empty database `postgres`; `host:port`."""
    folder = Path("/tmp") / f"pg-{os.getpid()}"  # short: a socket's path may have 107 characters
    folder.mkdir(mode=0o700)
    as_user = []
    if os.geteuid() == 0:  # which Postgres refuses
        os.chown(folder, 65534, 65534)
        as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    (folder / "password").write_text(PASSWORD)
    port = _free_port()
    shutil.chown(folder / "password", 65534 if as_user else os.geteuid())
    initdb = [f"{binaries}/initdb", "-D", f"{folder}/data", "-U", "tune", "-A", "scram-sha-256", "--no-sync"]
    subprocess.run([*as_user, *initdb, f"--pwfile={folder}/password"], check=True, cwd="/", stdout=subprocess.DEVNULL)
    serve = ["postgres", "-D", f"{folder}/data", "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
    server = subprocess.Popen([*as_user, f"{binaries}/{serve[0]}", *serve[1:]], cwd="/", stderr=subprocess.DEVNULL)
    try:
        _wait(port, server)
        yield f"127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder)


def _wait(port: int, server: subprocess.Popen) -> None:
    """Until it answers."""
    url = f"postgresql://tune:{PASSWORD}@127.0.0.1:{port}/postgres"
    for _ in range(600):
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
            return
        assert server.poll() is None, "Postgres has ended"
        time.sleep(0.1)
    raise AssertionError("Postgres does not answer")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
