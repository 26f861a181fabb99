"""Files at local paths, `gs://bucket/name` and `s3://bucket/name`, with one set of functions.

A path is a string. A "folder" in a bucket is the part of its objects' names up to a slash. Every kind of storage makes
the same promises:

- A file appears whole or not at all.
- A listing is sorted by path and streamed; it leaves out unfinished files and empty folders.
- A missing file is a `FileNotFoundError`. An unreadable one is a `PermissionError`, or another OSError that
  `io_errors.is_of_one_file` accepts (an encode counts it as a reject). Only regular files are read, so no read blocks
  or never ends.
- Missing credentials, a missing bucket, and a location that must not be listed or written are the user's mistake:
  `UserError`.
- Any other error of a disk or a network is an `OSError` that names the path.

All files are read and written here, except TensorBoard's events and profiles, which TensorFlow writes. A cloud library
is imported when its first path is used.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol, TypeVar, cast

from job_runtime import io_errors
from job_runtime.problem_report import UserError

PARTIAL_SUFFIX = ".partial"  # of files being written; no listing shows them

UNKNOWN_SIZE = -1  # of what is not a file, and of objects named by a list: asking would take longer than reading

NUM_CONNECTIONS = 32  # to a bucket, per process: enough for 600 small objects per second at a latency of 50 ms
_AHEAD = 2 * NUM_CONNECTIONS  # reads started ahead of the one whose result is taken

T = TypeVar("T")
R = TypeVar("R")

_BACKENDS = {
    "": "job_runtime.storage.local",
    "gs": "job_runtime.storage.gs",
    "s3": "job_runtime.storage.s3",
}
SCHEMES = tuple(f"{scheme}://" for scheme in _BACKENDS if scheme)
_WANTED = f"a local path, {' or '.join(f'{scheme}bucket/name' for scheme in SCHEMES)}"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One file of a listing."""

    path: str  # accepted by the functions here
    size: int  # bytes
    version: str = dataclasses.field(default="", compare=False)  # changes when the file is written again
    trouble: str = ""  # why it cannot be read, if a listing finds that out; the path of a folder ends in a slash


class Backend(Protocol):
    """The functions of the module for one kind of storage; paths include the scheme."""

    def exists(self, path: str) -> bool: ...
    def is_folder(self, path: str) -> bool: ...
    def list_folder(self, path: str) -> Iterator[Entry]: ...
    def look_up(self, path: str) -> Entry | None: ...
    def read_bytes(self, path: str, max_bytes: int | None) -> bytes: ...
    def read_range(self, path: str, offset: int, length: int) -> bytes: ...
    def why_no_output(self, path: str, is_file: bool) -> str | None: ...
    def write_bytes(self, path: str, data: bytes, only_if_absent: bool, durable: bool) -> bool: ...
    def write_parts(self, path: str, parts: Iterable[bytes], durable: bool) -> None: ...
    def delete(self, path: str) -> None: ...
    def delete_folder(self, path: str) -> None: ...
    def delete_leftovers(self, folder: str) -> None: ...


def join(root: str, *parts: str) -> str:
    """`root` and `parts` with one slash between them; a part with a leading slash does not reset the path."""
    joined = root
    for part in parts:
        joined = f"{joined.rstrip('/')}/{part.lstrip('/')}" if joined else part
    return joined


def exists(path: str) -> bool:
    """Whether a file of this name exists; for folders use `is_folder`."""
    return _backend(path).exists(path)


def is_folder(path: str) -> bool:
    """Whether this is a folder: a local directory, or a prefix (up to a slash) with something below it."""
    return _backend(path).is_folder(path)


def list_files(prefix: str, *, with_unreadable: bool = False, missing_ok: bool = False) -> Iterator[Entry]:
    """Everything below a folder, or the one file of this name; sorted by path, streamed.

    With `with_unreadable` it includes names that are not regular files, such as broken links, and folders that cannot
    be listed, each with its `trouble`. Without it, such names are left out, and such folders are errors.

    In a bucket, an empty folder cannot be distinguished from a missing one: both list nothing.

    Raises:
      FileNotFoundError: this local name does not exist, unless `missing_ok`.
      UserError: there is no such bucket, or it must not be listed.
      OSError: the name itself cannot be read.
    """
    try:
        yield from _list_files(prefix, with_unreadable)
    except FileNotFoundError:
        if not missing_ok:
            raise


def _list_files(prefix: str, with_unreadable: bool) -> Iterator[Entry]:
    backend = _backend(prefix)
    if not prefix.endswith("/"):
        entry = backend.look_up(prefix)
        if entry is not None:
            yield entry
            return
    for entry in backend.list_folder(prefix):
        if entry.trouble and not with_unreadable:
            if entry.path.endswith("/"):
                raise UserError(f"{entry.path!r} cannot be listed: {entry.trouble}")
        elif not entry.path.endswith(PARTIAL_SUFFIX):
            yield entry


def look_up(path: str) -> Entry | None:
    """The entry that a listing has for this file; None if there is no file of this name.

    Raises:
      OSError: the name cannot be looked up, or is a pipe or a device.
    """
    return _backend(path).look_up(path)


def size(path: str) -> int | None:
    """Bytes of the file; None if there is no file of this name."""
    entry = look_up(path)
    return None if entry is None else entry.size


def output_problems(flag: str, path: str | None, *, is_file: bool = False) -> list[str]:
    """Sentences on why nothing can be written there, as far as can be seen without writing; for checks before any work.

    Args:
      path: of a folder, which need not exist yet, or with `is_file` of a file; None if the flag is not given.
    """
    if path is None:
        return []
    try:
        reason = _backend(path).why_no_output(path, is_file)
    except UserError as error:
        return [f"{flag}: {problem}" for problem in error.problems]
    return [f"{flag} {path!r} {reason}"] if reason else []


def read_bytes(path: str, *, max_bytes: int | None = None) -> bytes:
    """The whole file; of a file larger than `max_bytes`, one byte more than that, so that the caller can tell.

    Raises:
      FileNotFoundError: there is no file of this name. PermissionError: it must not be read.
    """
    return _backend(path).read_bytes(path, max_bytes)


def read_range(path: str, offset: int, length: int) -> bytes:
    """`length` bytes from `offset` on; fewer if the file ends earlier.

    Raises:
      FileNotFoundError, PermissionError: as `read_bytes`.
    """
    if length <= 0:
        return b""
    return _backend(path).read_range(path, offset, length)


def read_many(paths: Iterable[str], *, max_bytes: int | None = None) -> Iterator[bytes | OSError]:
    """Files in the order of `paths`; if only one file cannot be read, its error takes its place.

    Many files of a bucket are read at a time, in threads with a connection each; local files are read one by one.

    Raises:
      UserError: credentials are missing or refused.
    """

    def read(path: str) -> bytes | OSError:
        try:
            return read_bytes(path, max_bytes=max_bytes)
        except OSError as error:
            if not io_errors.is_of_one_file(error):
                raise
            return error

    return map_in_threads(read, paths, is_slow=is_remote)


def map_in_threads(function: Callable[[T], R], items: Iterable[T], *, is_slow: Callable[[T], bool]) -> Iterator[R]:
    """`function` of each item, in order; slow items in threads, ahead of the result that is taken."""
    waiting: collections.deque[Callable[[], R]] = collections.deque()
    for item in items:
        if is_slow(item):
            waiting.append(_readers().submit(function, item).result)
        elif waiting:
            waiting.append(functools.partial(function, item))
        else:
            yield function(item)
        if len(waiting) >= _AHEAD:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def is_remote(path: str) -> bool:
    """Whether the file is reached over a network, judging by its name."""
    return "://" in path


def _readers() -> concurrent.futures.ThreadPoolExecutor:
    return _readers_of(os.getpid())


@functools.cache
def _readers_of(_pid: int) -> concurrent.futures.ThreadPoolExecutor:
    """Threads do not survive a fork."""
    return concurrent.futures.ThreadPoolExecutor(NUM_CONNECTIONS, thread_name_prefix="storage")


def read_text(path: str) -> str:
    """The whole file as UTF-8; line endings stay as they are.

    Raises:
      FileNotFoundError, PermissionError: as `read_bytes`. UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path).decode("utf-8")


def write_bytes(path: str, data: bytes, *, only_if_absent: bool = False, durable: bool = True) -> bool:
    """Writes a file, whole or not at all, and makes its folder; returns whether it was written.

    With `only_if_absent`, a file that is already there stays as it is and the result is False. (In a bucket, a repeated
    request whose first answer was lost may also return False; the file is then complete.)
    Without `durable`, a local file may be empty or truncated after a crash of the machine, but not after one of this
    process. Use it for files whose damage is detected and that can be made again.

    Raises:
      UserError: the location must not be written, or does not exist.
    """
    return _backend(path).write_bytes(path, data, only_if_absent, durable)


def write_parts(path: str, parts: Iterable[bytes], *, durable: bool = True) -> None:
    """Writes a file as `write_bytes` does, from parts that need not be in memory together.

    What goes to a bucket is in a temporary file first.
    """
    _backend(path).write_parts(path, parts, durable)


@contextlib.contextmanager
def joined(parts: Iterable[bytes]) -> Iterator[BinaryIO]:
    """A temporary file of these parts, for back ends that must know the size before they write."""
    with tempfile.TemporaryFile() as file:
        file.writelines(parts)
        file.seek(0)
        yield cast(BinaryIO, file)


def delete(path: str) -> None:
    """Deletes a file. A missing one is not an error, so that a restart can repeat the call."""
    _backend(path).delete(path)


def delete_folder(path: str) -> None:
    """Deletes everything below a folder, unfinished files included. A missing one is not an error."""
    _backend(path).delete_folder(path)


def delete_leftovers(folder: str) -> None:
    """Deletes unfinished files (`PARTIAL_SUFFIX`) that killed processes left in a folder and its subfolders.

    Call it at the start of a job, for its output folder. Files of running processes stay: `partial_files` tells them
    apart. Buckets have no unfinished files. The first write into a folder does the same for that folder alone, so a
    command that writes only a few files need not call this.
    """
    _backend(folder).delete_leftovers(folder)


def split_url(path: str) -> tuple[str, str]:
    """Splits `gs://bucket/a/b` into `("bucket", "a/b")`.

    Raises:
      UserError: the path names no bucket.
    """
    bucket, _, name = path.partition("://")[2].partition("/")
    if not bucket:
        raise UserError(f"{path!r} names no bucket, want {_scheme(path)}://bucket/name")
    return bucket, name


def folder_prefix(name: str) -> str:
    """The common prefix of the names of all objects below a folder of a bucket."""
    return f"{name.rstrip('/')}/" if name.strip("/") else ""


def _scheme(path: str) -> str:
    scheme, separator, _ = path.partition("://")
    return scheme if separator else ""


def _backend(path: str) -> Backend:
    if not path:
        raise UserError(f"the path is empty, want {_WANTED}")
    if "\0" in path:
        raise UserError(f"{path!r} holds a NUL, which no path does")
    scheme = _scheme(path)
    if scheme not in _BACKENDS:
        raise UserError(f"{path!r} is on {scheme}://, want {_WANTED}")
    return importlib.import_module(_BACKENDS[scheme])
