"""Local files while they are being written: their names, their locks, and how those of killed processes are deleted.

    .<machine>-<random>.partial        beside the final file

The writer holds a lock (flock) on the file until it has its final name. The kernel releases the lock when the process
ends, so a file without a lock was left by a process that is gone. Most network file systems share locks between
machines, but not all. So a file of another machine is deleted only after an hour without a write.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from typing import BinaryIO

from job_runtime.storage import PARTIAL_SUFFIX

FOREIGN_SECONDS = 3600.0
_OURS = re.compile(rf"\.(?:([0-9a-f]{{8}})-)?[0-9a-f]{{16}}{re.escape(PARTIAL_SUFFIX)}")  # older ones: no machine


@functools.cache
def _machine() -> str:
    """8 hex digits for this machine and boot; containers on one machine share the locks of its kernel."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read()
    except OSError:
        boot = secrets.token_bytes(16)  # unknown: then only this process's own files count as this machine's
    return hashlib.sha256(boot).hexdigest()[:8]


@contextlib.contextmanager
def create(folder: str) -> Iterator[tuple[str, BinaryIO]]:
    """Yields the path of a new file and the open file, locked; deletes it at the end unless it has been renamed."""
    while True:
        path = os.path.join(folder, f".{_machine()}-{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(descriptor, "wb") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink == 0:  # `delete_left` ran between open and lock
                continue
            try:
                yield path, file
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            return


def delete_left(folder: str, *, recursive: bool) -> None:
    """Deletes what dead processes have left in a folder, and with `recursive` in its subfolders.

    A job owns its folder, so there (with `recursive`) any hidden file with our suffix counts; in other folders only
    names that are certainly ours.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if recursive and entry.is_dir(follow_symlinks=False):
                    delete_left(entry.path, recursive=True)
                elif entry.name.startswith(".") and entry.name.endswith(PARTIAL_SUFFIX):
                    match = _OURS.fullmatch(entry.name)
                    if match or recursive:
                        _delete_if_left(entry.path, match[1] if match else None)
    except OSError:  # missing, or not readable for us: the next write there reports what matters
        pass


def _delete_if_left(path: str, machine: str | None) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            is_old = time.time() - os.fstat(descriptor).st_mtime > FOREIGN_SECONDS
            if not is_old and machine not in (None, _machine()):
                return
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            except OSError:  # a file system without locks
                if not is_old:
                    return
            os.unlink(path)
        finally:
            os.close(descriptor)
