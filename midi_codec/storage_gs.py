"""Google Cloud Storage, for `storage`: an object appears whole, and once only with a generation precondition.

With STORAGE_EMULATOR_HOST set, an anonymous client talks to that emulator.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterator
from typing import Any

from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.cloud import storage as gcs
from google.cloud.storage.retry import DEFAULT_RETRY

from midi_codec.command import UserError
from midi_codec.storage import folder_prefix, split_url


@functools.cache
def _client_of(_pid: int, emulator: str | None) -> gcs.Client:
    """One client a process: its connections do not survive a fork."""
    try:
        return gcs.Client.create_anonymous_client() if emulator else gcs.Client()
    except DefaultCredentialsError as error:
        raise UserError(
            "gs:// needs Google credentials and there are none; run `gcloud auth application-default login`, "
            "or set GOOGLE_APPLICATION_CREDENTIALS"
        ) from error


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


def _reason(error: Any) -> str:
    return getattr(error, "message", None) or str(error)


def exists(path: str) -> bool:
    return bool(split_url(path)[1]) and size(path) is not None


def size(path: str) -> int | None:
    if not split_url(path)[1]:
        return None
    blob = _blob(path)
    with _mistakes_named(path, "looked at"):
        try:
            blob.reload()
        except exceptions.NotFound:
            return None
    return blob.size


def is_folder(path: str) -> bool:
    bucket, name = split_url(path)
    with _mistakes_named(path, "listed"):
        try:
            return any(True for _ in _bucket(bucket).list_blobs(prefix=folder_prefix(name), max_results=1))
        except exceptions.NotFound:
            return False


def list_folder(path: str) -> Iterator[tuple[str, int]]:
    bucket, name = split_url(path)
    with _mistakes_named(path, "listed"):
        for blob in _bucket(bucket).list_blobs(prefix=folder_prefix(name), fields="items(name,size),nextPageToken"):
            if not blob.name.endswith("/"):  # what consoles leave for an empty folder
                yield f"gs://{bucket}/{blob.name}", blob.size


def read_bytes(path: str) -> bytes:
    try:
        return _blob(path).download_as_bytes()
    except exceptions.NotFound as error:
        raise FileNotFoundError(errno.ENOENT, "no such object", path) from error
    except (exceptions.Forbidden, exceptions.Unauthorized, RefreshError) as error:
        raise PermissionError(errno.EACCES, _reason(error), path) from error


def write_bytes(path: str, data: bytes, only_if_absent: bool) -> bool:
    blob = _blob(path)
    with _mistakes_named(path, "written"):
        try:
            # The same bytes under the same name: repeating the request is safe, which the library cannot know.
            blob.upload_from_string(
                data,
                content_type="application/octet-stream",
                if_generation_match=0 if only_if_absent else None,
                retry=DEFAULT_RETRY,
            )
        except exceptions.PreconditionFailed:
            return False
    return True


def delete(path: str) -> None:
    with _mistakes_named(path, "deleted"), contextlib.suppress(exceptions.NotFound):
        _blob(path).delete(retry=DEFAULT_RETRY)


def rename(source: str, target: str) -> None:
    copy, original = _blob(target), _blob(source)
    try:
        token, _, _ = copy.rewrite(original, retry=DEFAULT_RETRY)
        while token is not None:  # large objects move in several requests
            token, _, _ = copy.rewrite(original, token=token, retry=DEFAULT_RETRY)
    except exceptions.NotFound as error:
        raise FileNotFoundError(errno.ENOENT, "no such object, or no such bucket", source) from error
    delete(source)
