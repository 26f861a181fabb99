"""Local files, for `storage`: writes through a temporary name in the same folder."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator

from midi_codec.command import UserError
from midi_codec.storage import PARTIAL_SUFFIX

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}  # some network and FUSE mounts


def exists(path: str) -> bool:
    return os.path.isfile(path)


def is_folder(path: str) -> bool:
    return os.path.isdir(path)


def size(path: str) -> int | None:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def list_folder(path: str) -> Iterator[tuple[str, int]]:
    if not os.path.isdir(path):
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", path)
    yield from _walk(path, frozenset())


def _walk(folder: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int]]:
    """Files below `folder` in the order of their full paths; `above` are the folders we came through."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:  # a symbolic link back up
        return
    try:
        with os.scandir(folder) as entries:
            # A folder sorts as its name with the slash, or `a/b` would come before `a-b`.
            children = sorted((entry.name + "/" * entry.is_dir(), entry) for entry in entries)
    except PermissionError as error:
        raise UserError(f"{folder!r} cannot be listed: {error.strerror}") from error
    for _, entry in children:
        if entry.is_dir():
            yield from _walk(os.path.join(folder, entry.name), above | {here})
        elif entry.is_file():  # not sockets, pipes, or links to nothing
            yield os.path.join(folder, entry.name), entry.stat().st_size


def read_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write_bytes(path: str, data: bytes, only_if_absent: bool) -> bool:
    if only_if_absent and os.path.lexists(path):
        return False
    folder = os.path.dirname(path)
    partial = os.path.join(folder, f".{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)
        _write_through(partial, data)
        if only_if_absent:
            return _link(partial, path)
        os.replace(partial, path)
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise UserError(f"{path!r} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(partial)
    return True


def _write_through(path: str, data: bytes) -> None:
    """Writes and waits for the disk: a rename that outlives its data would show half a file after a crash."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _link(partial: str, path: str) -> bool:
    """Gives a whole file its name unless the name is taken: a hard link cannot replace anything."""
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(path):
            return False
        os.replace(partial, path)  # still whole; only two writers in this very instant would both say True
    return True


def delete(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def rename(source: str, target: str) -> None:
    folder = os.path.dirname(target)
    if folder:
        os.makedirs(folder, exist_ok=True)
    os.replace(source, target)
