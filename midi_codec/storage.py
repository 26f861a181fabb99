"""Where bytes lie: local paths, `gs://bucket/name` and `s3://bucket/name`, behind one set of functions.

A path is a string. A "folder" of a bucket is what its objects' names share up to a slash. What every
place promises alike:

- a write is seen whole or not at all;
- a listing is sorted by path and streamed, and leaves out unfinished files and empty folders;
- a missing file is `FileNotFoundError`, an unreadable one `PermissionError` (one file's trouble, which an
  encode counts as a reject); missing credentials, a missing bucket, a place that must not be listed or
  written are the user's mistake: `UserError`.

Beam's and TensorFlow's own file systems are used elsewhere, and only inside Beam's IO, tf.data and
checkpoints. The cloud libraries are imported when the first path of their kind is met.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from typing import Protocol

from midi_codec.command import UserError

PARTIAL_SUFFIX = ".partial"  # of files being written; no listing shows them

_BACKENDS = {
    "": "midi_codec.storage_local",
    "gs": "midi_codec.storage_gs",
    "s3": "midi_codec.storage_s3",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One file of a listing."""

    path: str  # as the functions here take it
    size: int  # bytes


class Backend(Protocol):
    """What a module of one kind of place offers; paths are whole, scheme included."""

    def exists(self, path: str) -> bool: ...
    def is_folder(self, path: str) -> bool: ...
    def list_folder(self, path: str) -> Iterator[tuple[str, int]]: ...
    def size(self, path: str) -> int | None: ...
    def read_bytes(self, path: str) -> bytes: ...
    def write_bytes(self, path: str, data: bytes, only_if_absent: bool) -> bool: ...
    def delete(self, path: str) -> None: ...
    def rename(self, source: str, target: str) -> None: ...


def join(root: str, *parts: str) -> str:
    """`root` and `parts` with one slash between them; a leading slash of a part does not reset the path."""
    joined = root
    for part in parts:
        joined = f"{joined.rstrip('/')}/{part.lstrip('/')}" if joined else part
    return joined


def exists(path: str) -> bool:
    """Whether a file of this name is there; for folders ask `is_folder`."""
    return _backend(path).exists(path)


def is_folder(path: str) -> bool:
    """Whether this is a folder: a local directory, or a prefix (up to a slash) with something below it."""
    return _backend(path).is_folder(path)


def list_files(prefix: str) -> Iterator[Entry]:
    """Everything below a folder, or the one file of this name; sorted by path, streamed.

    An empty folder of a bucket cannot be told from a missing one: both list nothing.

    Raises:
      FileNotFoundError: nothing of this local name exists.
      UserError: there is no such bucket, or it must not be listed.
    """
    backend = _backend(prefix)
    if not prefix.endswith("/"):
        size = backend.size(prefix)
        if size is not None:
            yield Entry(prefix, size)
            return
    for path, size in backend.list_folder(prefix):
        if not path.endswith(PARTIAL_SUFFIX):
            yield Entry(path, size)


def read_bytes(path: str) -> bytes:
    """The whole file.

    Raises:
      FileNotFoundError: there is none of this name. PermissionError: it must not be read.
    """
    return _backend(path).read_bytes(path)


def read_text(path: str) -> str:
    """The whole file as UTF-8; line ends stay as they are.

    Raises:
      FileNotFoundError, PermissionError: as `read_bytes`. UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path).decode("utf-8")


def write_bytes(path: str, data: bytes, *, only_if_absent: bool = False) -> bool:
    """Writes a file whole or not at all; makes its folder; gives whether it was written.

    With `only_if_absent`, a file that is there already stays as it is and the answer is False. (In a
    bucket, a repeated request whose first answer was lost may also say False: the file is then whole.)

    Raises:
      UserError: the place must not be written, or is not there.
    """
    return _backend(path).write_bytes(path, data, only_if_absent)


def delete(path: str) -> None:
    """Deletes a file; one that is not there is fine, so that a restart can repeat it."""
    _backend(path).delete(path)


def rename(source: str, target: str) -> None:
    """Moves a file over whatever is at `target`; in buckets a copy, then a delete.

    Raises:
      FileNotFoundError: there is no `source`.
    """
    backend = _backend(source)
    if _scheme(source) == _scheme(target):
        backend.rename(source, target)
    else:
        write_bytes(target, read_bytes(source))
        delete(source)


def split_url(path: str) -> tuple[str, str]:
    """`gs://bucket/a/b` gives `("bucket", "a/b")`.

    Raises:
      UserError: no bucket is named.
    """
    bucket, _, name = path.partition("://")[2].partition("/")
    if not bucket:
        raise UserError(f"{path!r} names no bucket, want {_scheme(path)}://bucket/name")
    return bucket, name


def folder_prefix(name: str) -> str:
    """What the names of all objects below a bucket's folder begin with."""
    return f"{name.rstrip('/')}/" if name.strip("/") else ""


def _scheme(path: str) -> str:
    scheme, separator, _ = path.partition("://")
    return scheme if separator else ""


def _backend(path: str) -> Backend:
    if not path:
        raise UserError("the path is empty, want a local path, gs://bucket/name or s3://bucket/name")
    scheme = _scheme(path)
    if scheme not in _BACKENDS:
        raise UserError(f"{path!r} is on {scheme}://, want a local path, gs://bucket/name or s3://bucket/name")
    return importlib.import_module(_BACKENDS[scheme])
