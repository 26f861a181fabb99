"""Google Cloud Storage, for `storage`. An object appears whole; a generation precondition creates it at most once.

With STORAGE_EMULATOR_HOST set, an anonymous client talks to that emulator.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.cloud import storage as gcs
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException

from job_runtime import io_errors
from job_runtime.problem_report import UserError
from job_runtime.storage import NUM_CONNECTIONS, Entry, folder_prefix, is_remote, joined, map_in_threads, split_url

_NETWORK_ERRORS = (exceptions.GoogleAPICallError, exceptions.RetryError, RequestException, TransportError)
_LISTED_FIELDS = "items(name,size,generation),nextPageToken"


@functools.cache
def _client_of(_pid: int, emulator: str | None) -> gcs.Client:
    """One client per process, because its connections do not survive a fork."""
    try:
        # No call here needs a project, and credentials may have none.
        client = gcs.Client.create_anonymous_client() if emulator else gcs.Client(project=None)
    except DefaultCredentialsError as error:
        raise UserError(
            "gs:// needs Google credentials and there are none; run `gcloud auth application-default login`, "
            "or set GOOGLE_APPLICATION_CREDENTIALS; in a cluster, give the pod a service account"
        ) from error
    adapter = HTTPAdapter(pool_connections=NUM_CONNECTIONS, pool_maxsize=NUM_CONNECTIONS)
    for scheme in ("https://", "http://"):
        # Private, but needed: a client accepts no session without its own credentials, and ten connections are too few.
        client._http.mount(scheme, adapter)
    return client


def _bucket(name: str) -> gcs.Bucket:
    return _client_of(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST")).bucket(name)


def _blob(path: str) -> gcs.Blob:
    bucket, name = split_url(path)
    if not name:
        raise UserError(f"{path!r} names a bucket, want gs://bucket/name")
    return _bucket(bucket).blob(name)


@contextlib.contextmanager
def _mistakes_named(path: str, action: str) -> Iterator[None]:
    try:
        yield
    except exceptions.NotFound as error:
        raise UserError(f"{path!r} cannot be {action}: there is no bucket {split_url(path)[0]!r}") from error
    except (exceptions.Forbidden, exceptions.Unauthorized, RefreshError) as error:
        raise UserError(f"{path!r} cannot be {action}: {_reason(error)}") from error
    except _NETWORK_ERRORS as error:
        raise io_errors.network_error(path, error) from error


def _reason(error: Any) -> str:
    return getattr(error, "message", None) or str(error)


def exists(path: str) -> bool:
    return look_up(path) is not None


def look_up(path: str) -> Entry | None:
    if not split_url(path)[1]:
        return None
    blob = _blob(path)
    with _mistakes_named(path, "looked at"):
        try:
            blob.reload()
        except exceptions.NotFound:
            return None
    return Entry(path, blob.size, str(blob.generation))


def is_folder(path: str) -> bool:
    bucket, name = split_url(path)
    with _mistakes_named(path, "listed"):
        try:
            return any(True for _ in _bucket(bucket).list_blobs(prefix=folder_prefix(name), max_results=1))
        except exceptions.NotFound:
            return False


def list_folder(path: str) -> Iterator[Entry]:
    bucket, name = split_url(path)
    with _mistakes_named(path, "listed"):
        for blob in _bucket(bucket).list_blobs(prefix=folder_prefix(name), fields=_LISTED_FIELDS):
            if not blob.name.endswith("/"):  # web consoles create these for empty folders
                yield Entry(f"gs://{bucket}/{blob.name}", blob.size, str(blob.generation))


@contextlib.contextmanager
def _errors_of_one_object(path: str) -> Iterator[None]:
    """Tells errors of a single object from those that concern all objects."""
    try:
        yield
    except exceptions.NotFound as error:
        raise FileNotFoundError(errno.ENOENT, "no such object", path) from error
    except exceptions.Forbidden as error:
        raise PermissionError(errno.EACCES, _reason(error), path) from error
    except (exceptions.Unauthorized, RefreshError) as error:
        raise UserError(f"gs:// does not take these Google credentials: {_reason(error)}") from error
    except _NETWORK_ERRORS as error:
        raise io_errors.network_error(path, error) from error


def read_bytes(path: str, max_bytes: int | None) -> bytes:
    with _errors_of_one_object(path):
        if max_bytes is None:
            return _blob(path).download_as_bytes()
        sink = _Sink(max_bytes)
        with contextlib.suppress(_FullError):
            _blob(path).download_to_file(sink)
        return bytes(sink.data[: max_bytes + 1])


class _FullError(Exception):
    """Ends a download that has exceeded its limit."""


class _Sink:
    """The file that a download is written to."""

    def __init__(self, max_bytes: int):
        self.data = bytearray()
        self._max_bytes = max_bytes

    def write(self, data: bytes) -> int:
        self.data += data
        if len(self.data) > self._max_bytes:
            raise _FullError
        return len(data)

    def tell(self) -> int:
        return len(self.data)


def read_range(path: str, offset: int, length: int) -> bytes:
    with _errors_of_one_object(path):
        try:
            # Raw: the bytes that the listing counted, even if the object has Content-Encoding: gzip.
            return _blob(path).download_as_bytes(start=offset, end=offset + length - 1, raw_download=True)
        except exceptions.RequestRangeNotSatisfiable:
            return b""


def why_no_output(path: str, is_file: bool) -> str | None:
    """Always None: only writing shows whether an object may be written."""
    return None


def write_bytes(path: str, data: bytes, only_if_absent: bool, durable: bool) -> bool:
    blob = _blob(path)
    with _mistakes_named(path, "written"):
        try:
            # The same bytes under the same name, so repeating the request is safe; the library cannot know that.
            blob.upload_from_string(
                data,
                content_type="application/octet-stream",
                if_generation_match=0 if only_if_absent else None,
                retry=DEFAULT_RETRY,
            )
        except exceptions.PreconditionFailed:
            return False
    return True


def write_parts(path: str, parts: Iterable[bytes], durable: bool) -> None:
    with joined(parts) as file, _mistakes_named(path, "written"):
        _blob(path).upload_from_file(file, content_type="application/octet-stream", retry=DEFAULT_RETRY)


def delete(path: str) -> None:
    with _mistakes_named(path, "deleted"), contextlib.suppress(exceptions.NotFound):
        _blob(path).delete(retry=DEFAULT_RETRY)


def delete_folder(path: str) -> None:
    for _ in map_in_threads(delete, (entry.path for entry in list_folder(path)), is_slow=is_remote):
        pass


def delete_leftovers(_folder: str) -> None:
    """Does nothing: an object appears whole."""
