"""S3 and compatible services, for `storage`; boto3 reads AWS_ENDPOINT_URL from the environment."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from job_runtime import io_errors
from job_runtime.problem_report import UserError
from job_runtime.storage import NUM_CONNECTIONS, Entry, folder_prefix, is_remote, joined, map_in_threads, split_url

_MISSING = {"404", "NoSuchKey", "NotFound"}
_FORBIDDEN = {"403", "AccessDenied", "Forbidden"}
_BAD_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401"}
_PAST_THE_END = {"416", "InvalidRange"}
_TAKEN = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}  # 409: another writer was first


@functools.cache
def _client_of(_pid: int, _endpoint: str | None) -> Any:
    """One client per process, because its connections do not survive a fork."""
    config = Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=NUM_CONNECTIONS)
    try:
        return boto3.session.Session().client("s3", config=config)
    except ProfileNotFound as error:
        raise UserError(f"s3:// needs AWS credentials: {error}") from error


def _client() -> Any:
    return _client_of(os.getpid(), os.environ.get("AWS_ENDPOINT_URL"))


def _bucket_and_key(path: str) -> dict[str, str]:
    """The bucket and key as arguments of boto3's calls."""
    bucket, name = split_url(path)
    if not name:
        raise UserError(f"{path!r} names a bucket, want s3://bucket/name")
    return {"Bucket": bucket, "Key": name}


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextlib.contextmanager
def _mistakes_named(path: str, action: str) -> Iterator[None]:
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(
            "s3:// needs AWS credentials and there are none; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or run `aws configure`; in a cluster, give the pod a service account"
        ) from error
    except ParamValidationError as error:
        raise UserError(f"{path!r} cannot be {action}: {error}") from error
    except ClientError as error:
        if _code(error) == "NoSuchBucket":
            bucket = split_url(path)[0]
            raise UserError(f"{path!r} cannot be {action}: there is no bucket {bucket!r}") from error
        if _code(error) in _FORBIDDEN | _BAD_CREDENTIALS:
            raise UserError(f"{path!r} cannot be {action}: {error}") from error
        raise io_errors.network_error(path, error) from error
    except (BotoCoreError, Boto3Error) as error:
        raise io_errors.network_error(path, error) from error


def exists(path: str) -> bool:
    return look_up(path) is not None


def look_up(path: str) -> Entry | None:
    if not split_url(path)[1]:
        return None
    with _mistakes_named(path, "looked at"):
        try:
            head = _client().head_object(**_bucket_and_key(path))
        except ClientError as error:
            if _code(error) in _MISSING:
                return None
            raise
    return Entry(path, head["ContentLength"], head["ETag"].strip('"'))


def is_folder(path: str) -> bool:
    bucket, name = split_url(path)
    with _mistakes_named(path, "listed"):
        try:
            page = _client().list_objects_v2(Bucket=bucket, Prefix=folder_prefix(name), MaxKeys=1)
        except ClientError as error:
            if _code(error) == "NoSuchBucket":
                return False
            raise
    return page["KeyCount"] > 0


def list_folder(path: str) -> Iterator[Entry]:
    bucket, name = split_url(path)
    with _mistakes_named(path, "listed"):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder_prefix(name))
        for page in pages:
            for item in page.get("Contents", ()):
                if not item["Key"].endswith("/"):  # web consoles create these for empty folders
                    yield Entry(f"s3://{bucket}/{item['Key']}", item["Size"], item["ETag"].strip('"'))


def read_bytes(path: str, max_bytes: int | None) -> bytes:
    return _read(path, max_bytes, {})


def read_range(path: str, offset: int, length: int) -> bytes:
    return _read(path, None, {"Range": f"bytes={offset}-{offset + length - 1}"})


def _read(path: str, max_bytes: int | None, options: dict[str, str]) -> bytes:
    with _mistakes_named(path, "read"):
        try:
            body = _client().get_object(**_bucket_and_key(path), **options)["Body"]
            with contextlib.closing(body):
                return body.read() if max_bytes is None else body.read(max_bytes + 1)
        except ClientError as error:
            if _code(error) in _MISSING | {"NoSuchBucket"}:
                raise FileNotFoundError(errno.ENOENT, "no such object", path) from error
            if _code(error) in _FORBIDDEN:
                raise PermissionError(errno.EACCES, str(error), path) from error
            if _code(error) in _PAST_THE_END:
                return b""
            raise


def why_no_output(path: str, is_file: bool) -> str | None:
    """Always None: only writing shows whether an object may be written."""
    return None


def write_bytes(path: str, data: bytes, only_if_absent: bool, durable: bool) -> bool:
    condition = {"IfNoneMatch": "*"} if only_if_absent else {}
    with _mistakes_named(path, "written"):
        try:
            _client().put_object(**_bucket_and_key(path), Body=data, **condition)
        except ClientError as error:
            if only_if_absent and _code(error) in _TAKEN:
                return False
            raise
    return True


def write_parts(path: str, parts: Iterable[bytes], durable: bool) -> None:
    with joined(parts) as file, _mistakes_named(path, "written"):
        _client().upload_fileobj(file, **_bucket_and_key(path))  # in several requests, as one may have 5 GB


def delete(path: str) -> None:
    with _mistakes_named(path, "deleted"):
        _client().delete_object(**_bucket_and_key(path))


def delete_folder(path: str) -> None:
    for _ in map_in_threads(delete, (entry.path for entry in list_folder(path)), is_slow=is_remote):
        pass


def delete_leftovers(_folder: str) -> None:
    """Does nothing: an object appears whole."""
