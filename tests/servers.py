"""Clouds on this machine, for tests: all on 127.0.0.1, on free ports, in threads of the test process.

A process that a test starts reaches them through the variables that each gives. Google's storage can be met in two
ways. With STORAGE_EMULATOR_HOST the Python libraries talk to the emulator, without credentials: quick, and not what
happens in production. Through `production_env` they, and TensorFlow's built-in `gs://`, which knows no emulator,
believe they talk to storage.googleapis.com over TLS, with a token from the metadata server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import http.server
import json
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, TypeVar
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from gcp_storage_emulator import server as emulator
from gcp_storage_emulator.storage import Storage

HOST = "127.0.0.1"
TOKEN = "token-of-the-metadata-server"
GOOGLE_NAMES = (
    "storage.googleapis.com",
    "www.googleapis.com",
    "oauth2.googleapis.com",
    "iamcredentials.googleapis.com",
)


@dataclasses.dataclass(frozen=True)
class Request:
    """What a server was asked."""

    method: str
    path: str
    authorization: str | None
    is_secure: bool  # it came through TLS


class _Server(http.server.ThreadingHTTPServer):
    """Writes down what it is asked, in `requests`."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, handler):
        super().__init__((HOST, 0), handler)
        self.requests: list[Request] = []

    @property
    def address(self) -> str:
        return f"{HOST}:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """Clients that have left are no news."""


class _Recording(http.server.BaseHTTPRequestHandler):
    """A handler of one request a connection. HTTP/1.1, so that a client which asks to go on with its upload may."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def parse_request(self) -> bool:
        is_good = super().parse_request()
        if is_good:
            is_secure = isinstance(self.connection, ssl.SSLSocket)
            self.server.requests.append(
                Request(self.command, self.path, self.headers.get("Authorization"), is_secure=is_secure)
            )
        self.close_connection = True
        return is_good

    def end_headers(self) -> None:
        self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, *_) -> None:
        pass


_S = TypeVar("_S", bound=_Server)


@contextlib.contextmanager
def _running(server: _S) -> Iterator[_S]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class GcsServer(_Server):
    """Google Cloud Storage in memory; also the proxy through which clients find it under Google's names."""

    def __init__(self, folder: Path):
        super().__init__(functools.partial(_GcsHandler, Storage(use_memory_fs=True)))
        self.one_at_a_time = threading.Lock()  # the emulator was made for one thread
        self.certificate = str(folder / "googleapis.pem")
        self.tls = _make_certificate(self.certificate)

    @property
    def emulator_env(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": f"http://{self.address}"}

    @property
    def production_env(self) -> dict[str, str]:
        """Every request to Google's names comes here; the credentials are another server's affair."""
        proxies = {name: f"http://{self.address}" for name in ("https_proxy", "http_proxy")}
        trusted = {name: self.certificate for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")}
        return {**proxies, **trusted, "no_proxy": f"{HOST},localhost", "GCS_RETRY_CONFIG_MAX_RETRIES": "2"}


class _GcsHandler(_Recording, emulator.RequestHandler):
    server: GcsServer

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        self.path = re.sub("^http://[^/]+", "", self.path)  # as a proxy is asked for what needs no tunnel
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            del self.headers["Content-Length"]  # TensorFlow sends both, and the emulator would believe the wrong one
        return True

    def do_CONNECT(self) -> None:
        """A tunnel to one of Google's names ends here, and what comes through it is handled as if it were meant."""
        if self.path.removesuffix(":443") not in GOOGLE_NAMES:
            self.send_error(502, f"no way from a test to {self.path}")
            return
        self.send_response_only(200)
        http.server.BaseHTTPRequestHandler.end_headers(self)
        with self.server.tls.wrap_socket(self.connection, server_side=True) as tunnel:
            type(self)(self.storage, tunnel, self.client_address, self.server)  # type: ignore[call-arg]

    def _answer(self) -> None:
        with self.server.one_at_a_time:
            emulator.Router(self).handle(self.command)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer


@contextlib.contextmanager
def gcs(folder: Path) -> Iterator[GcsServer]:
    """The emulator, with what TensorFlow needs and the emulator lacks; its certificate goes into `folder`.

    Names of objects may end in a slash (TensorFlow's mark of a folder), and an object may be empty.
    """
    read_data = emulator._read_data

    def read_data_or_nothing(handler, query):
        data = read_data(handler, query)
        return b"" if data is None and query.get("uploadType") == ["media"] else data

    routes = tuple((route.replace(".*[^/]+)", ".+)"), methods) for route, methods in emulator.HANDLERS)
    with (
        mock.patch.object(emulator, "_read_data", read_data_or_nothing),
        mock.patch.object(emulator, "HANDLERS", routes),
        _running(GcsServer(folder)) as server,
    ):
        yield server


def _make_certificate(path: str) -> ssl.SSLContext:
    """Writes a throw-away certificate of Google's names to `path`; the context of a server that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests of this machine")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in GOOGLE_NAMES]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    Path(path).write_bytes(shown)
    both = Path(path + ".key")
    both.write_bytes(shown + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    both.unlink()
    return context


class MetadataServer(_Server):
    """What a Google machine or a pod with Workload Identity asks for its credentials."""

    @property
    def env(self) -> dict[str, str]:
        return {name: self.address for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT")}


class _MetadataHandler(_Recording):
    ACCOUNT: ClassVar[dict] = {
        "email": "tests@project.iam.gserviceaccount.com",
        "scopes": ["cloud-platform"],
        "aliases": ["default"],
    }
    ANSWERS: ClassVar[dict[str, str | dict]] = {
        "token": {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"},
        "default": ACCOUNT,
        "email": str(ACCOUNT["email"]),
        "project-id": "test-project",
        "universe-domain": "googleapis.com",
        "": "computeMetadata/",
    }

    def do_GET(self) -> None:
        answer = self.ANSWERS.get(self.path.partition("?")[0].rstrip("/").rpartition("/")[2])
        if answer is None:
            self.send_error(404)
            return
        is_text = isinstance(answer, str)
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/text" if is_text else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def metadata() -> Iterator[MetadataServer]:
    with _running(MetadataServer(_MetadataHandler)) as server:
        yield server


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """Address of an S3 server (moto)."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def s3_env(address: str) -> dict[str, str]:
    """For boto3 and for tensorflow-io, which has names of its own for the same things."""
    host = address.removeprefix("http://")
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "S3_ENDPOINT": f"http://{host}",
        "S3_USE_HTTPS": "0",
        "S3_VERIFY_SSL": "0",
    }
