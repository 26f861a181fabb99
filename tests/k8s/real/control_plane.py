"""A Kubernetes control plane on this machine: etcd, the API server and the controllers, all on loopback.

`scripts/build_kubernetes.sh` builds its programs. `node.py` stands in for the scheduler and for nodes.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import socket
import ssl
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.k8s.rendered import Object, kubectl
from tests.waiting import wait_for

HOST = "127.0.0.1"


class Refused(Exception):
    """An answer other than 2xx; `status` is its code."""

    def __init__(self, status: int, text: str):
        super().__init__(f"{status}: {text}")
        self.status = status


class Api:
    """Requests to the API server, as an administrator."""

    def __init__(self, port: int, token: str, certificate: Path, kubeconfig: Path):
        self.kubeconfig = kubeconfig
        self._port, self._token = port, token
        self._trust = ssl.create_default_context(cafile=str(certificate))

    def request(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Any:
        """The answer's JSON.

        Raises:
          Refused: it is no success.
          OSError: the server does not answer, or has no time for it.
        """
        with contextlib.closing(self._connect(30)) as connection:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Authorization": f"Bearer {self._token}", "Content-Type": kind})
            answer = connection.getresponse()
            read = answer.read()
            if answer.status >= 500:
                raise OSError(read.decode())
            if answer.status >= 300:
                raise Refused(answer.status, read.decode())
            return json.loads(read) if read.startswith(b"{") else read.decode()

    def get(self, path: str) -> Object:
        return self.request("GET", path)

    def create(self, path: str, body: Object) -> Object:
        return self.request("POST", path, body)

    def delete(self, path: str, **options: Any) -> None:
        self.request("DELETE", path, options)

    def patch(self, path: str, body: Object) -> Object:
        return self.request("PATCH", path, body, "application/strategic-merge-patch+json")

    def kubectl(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess:
        """What a user types; not checked."""
        line = [kubectl(), f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(line, input=given, capture_output=True, text=True, check=False, timeout=300)

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(HOST, self._port, timeout=timeout, context=self._trust)


@contextlib.contextmanager
def serve(programs: Path, folder: Path) -> Iterator[Api]:
    """A new, empty cluster without nodes.

    Args:
      programs: folder of what `scripts/build_kubernetes.sh` built.
      folder: for data, keys and logs.
    """
    store, peer, port, controllers = free_ports(4)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "accounts.pem").write_bytes(key)
    certificate, kubeconfig = folder / "tls" / "apiserver.crt", folder / "kubeconfig"
    lines = {
        "etcd": [
            f"--data-dir={folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://{HOST}:{store}",
            f"--advertise-client-urls=http://{HOST}:{store}",
            f"--listen-peer-urls=http://{HOST}:{peer}",
            f"--initial-advertise-peer-urls=http://{HOST}:{peer}",
            f"--initial-cluster=default=http://{HOST}:{peer}",
        ],
        "kube-apiserver": [
            f"--etcd-servers=http://{HOST}:{store}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--secure-port={port}",
            f"--cert-dir={certificate.parent}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'accounts.pem'}",
            f"--service-account-signing-key-file={folder / 'accounts.pem'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
        ],
        "kube-controller-manager": [
            f"--kubeconfig={kubeconfig}",
            f"--bind-address={HOST}",
            f"--secure-port={controllers}",
            "--leader-elect=false",
            f"--service-account-private-key-file={folder / 'accounts.pem'}",
            f"--root-ca-file={certificate}",
        ],
    }
    with contextlib.ExitStack() as stack:
        for name in ("etcd", "kube-apiserver"):
            stack.enter_context(_running(programs / name, lines[name], folder))
        wait_for(certificate.with_suffix(".key").exists, 60)  # it is written after the certificate
        kubeconfig.write_text(_kubeconfig(port, token, certificate))
        api = Api(port, token, certificate, kubeconfig)
        wait_for(lambda: _is_ready(api), 120)
        stack.enter_context(_running(programs / "kube-controller-manager", lines["kube-controller-manager"], folder))
        wait_for(lambda: api.get("/api/v1/namespaces/default/serviceaccounts")["items"], 60)
        yield api


@contextlib.contextmanager
def _running(program: Path, arguments: list[str], folder: Path) -> Iterator[None]:
    with open(folder / f"{program.name}.log", "wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
        assert process.poll() is None, f"{program.name} has ended: {folder}/{program.name}.log"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(api: Api) -> bool:
    with contextlib.suppress(OSError, Refused, http.client.HTTPException):
        return api.get("/readyz") == "ok"
    return False


def _kubeconfig(port: int, token: str, certificate: Path) -> str:
    """JSON, which is YAML."""
    authority = base64.b64encode(certificate.read_bytes()).decode()
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
            "clusters": [
                {
                    "name": "here",
                    "cluster": {"server": f"https://{HOST}:{port}", "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": "admin", "user": {"token": token}}],
        }
    )


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def selected(path: str, **selectors: str) -> str:
    """A path with query parameters."""
    return f"{path}?{urllib.parse.urlencode(selectors)}"
