"""What a command takes, with the processes that it starts: time, memory and disk."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.harness import machine
from job_runtime.command import INTERRUPTED, OK, StopSignal

_SAMPLE_SECONDS, _DISK_SECONDS = 0.05, 2.0
_PROC = pathlib.Path("/proc")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usage:
    """Of one command; memory and disk at their highest.

    Attributes:
      megabytes: resident, of all its processes, pages of mapped files included.
      own_megabytes: without these.
      disk_megabytes: its folder, and temporary files with and without a name.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0
    megabytes: int = 0
    own_megabytes: int = 0
    disk_megabytes: int = 0

    def then(self, other: Usage) -> Usage:
        """Both, one after the other."""
        return Usage(
            seconds=round(self.seconds + other.seconds, 2),
            processor_seconds=round(self.processor_seconds + other.processor_seconds, 2),
            megabytes=max(self.megabytes, other.megabytes),
            own_megabytes=max(self.own_megabytes, other.own_megabytes),
            disk_megabytes=max(self.disk_megabytes, other.disk_megabytes),
        )


def run(
    arguments: Sequence[str],
    *,
    folder: pathlib.Path,
    log: pathlib.Path,
    stop: StopSignal,
    environment: Mapping[str, str] | None = None,
) -> tuple[Usage, bool]:
    """Runs `python -m ARGUMENTS`; its progress is on standard error, its answer in `log`.

    Args:
      folder: what the command writes.

    Returns:
      What it took, and whether it finished; if not, `stop` asked for it.

    Raises:
      RuntimeError: it failed.
    """
    usage, start, looked = Usage(), time.monotonic(), 0.0
    temporary = folder.parent / f"{folder.name}-temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=machine.ROOT,
            stdout=output,
            env={**os.environ, **(environment or {}), "TMPDIR": str(temporary)},
        )
        is_told = False
        while True:
            pid, status, resources = os.wait4(process.pid, os.WNOHANG)
            now = time.monotonic()
            if pid:
                break
            tree = list(_tree(process.pid))
            own, mapped = (sum(values) for values in zip(*map(_memory, tree), strict=True))
            disk = 0
            if now - looked > _DISK_SECONDS:
                looked, disk = now, _disk(tree, (folder, temporary))
            usage = usage.then(Usage(megabytes=own + mapped >> 10, own_megabytes=own >> 10, disk_megabytes=disk >> 20))
            if stop.requested and not is_told:
                process.send_signal(signal.SIGTERM)
                is_told = True
            time.sleep(_SAMPLE_SECONDS)
    process.returncode = os.waitstatus_to_exitcode(status)
    usage = usage.then(
        Usage(
            seconds=now - start,
            processor_seconds=resources.ru_utime + resources.ru_stime,
            disk_megabytes=_disk([], (folder, temporary)) >> 20,
        )
    )
    if process.returncode not in (OK, INTERRUPTED):
        raise RuntimeError(f"{' '.join(arguments)} ended with status {process.returncode}; its answer is in {log}")
    return usage, process.returncode == OK


def _tree(pid: int) -> Iterator[int]:
    """The process and its descendants, as far as they still exist."""
    yield pid
    for task in _listed(_PROC / str(pid) / "task"):
        for child in _text(task / "children").split():
            yield from _tree(int(child))


def _memory(pid: int) -> tuple[int, int]:
    """Kilobytes of a process: its own, and of files that it maps."""
    fields = dict(line.split(":", 1) for line in _text(_PROC / str(pid) / "status").splitlines() if ":" in line)
    anonymous, shared, mapped = (int(fields.get(f"Rss{name}", "0 kB").split()[0]) for name in ("Anon", "Shmem", "File"))
    return anonymous + shared, mapped


def _disk(pids: Sequence[int], folders: Sequence[pathlib.Path]) -> int:
    """Bytes of the folders, and of files without a name that the processes have open or map."""
    sizes: dict[str, int] = {}
    for pid in pids:
        for opened in _listed(_PROC / str(pid) / "fd"):
            try:
                found = opened.stat()
                if not found.st_nlink:
                    sizes[f"{found.st_ino}"] = found.st_size
            except OSError:
                continue
        for line in _text(_PROC / str(pid) / "maps").splitlines():
            addresses, _, _, _, inode, *named = line.split(maxsplit=5)
            if named and named[0].endswith("(deleted)"):
                begin, end = (int(address, 16) for address in addresses.split("-"))
                sizes[inode] = max(sizes.get(inode, 0), end - begin)
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):  # it was deleted just now
                    path = os.path.join(parent, name)
                    sizes[path] = os.stat(path).st_size
    return sum(sizes.values())


def _listed(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
