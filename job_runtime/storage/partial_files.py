"""Local files while they are being written: their names, who holds them, and how those of killed processes go.

    .<machine>-<random>.partial        beside the file to be

The writer keeps a lock (flock) on the file until it has its final name. The kernel drops the lock with the process,
however that ends, so a file without one was left by a process that is gone. Locks reach across machines on most network
file systems, but not on all: what another machine has begun goes only after an hour in which nothing was added.
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
_OURS = re.compile(rf"\.(?:([0-9a-f]{{8}})-)?[0-9a-f]{{16}}{re.escape(PARTIAL_SUFFIX)}")  # older versions: no machine


@functools.cache
def _machine() -> str:
    """8 hex digits that tell machines apart, and their boots: containers of one machine share its kernel's locks."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read()
    except OSError:
        boot = secrets.token_bytes(16)  # unknown: nothing that this process has not written itself is its own
    return hashlib.sha256(boot).hexdigest()[:8]


@contextlib.contextmanager
def create(folder: str) -> Iterator[tuple[str, BinaryIO]]:
    """A new file, its path and the locked open file; deleted on leaving, unless it has been renamed."""
    while True:
        path = os.path.join(folder, f".{_machine()}-{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(descriptor, "wb") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink == 0:  # `delete_left` came between the two
                continue
            try:
                yield path, file
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            return


def delete_left(folder: str, *, recursive: bool) -> None:
    """Deletes what processes that are gone have left in a folder; with `recursive` in all folders below it too.

    The folder of a job is its own, so there any hidden file with our suffix counts; in other folders (not `recursive`)
    only names that are ours for certain.
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
    except OSError:  # not there, or not ours to look at: what matters will be said by who writes there
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
