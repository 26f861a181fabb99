"""Keeps what XLA compiled for the processor, so that the next command with a model of the same shapes need not.

XLA reads and writes the entries itself, and uses one only if its whole program is equal. It does not ask for which
version of TensorFlow, processor and environment an entry was compiled, so each combination has a folder of its own.
A damaged entry or a full disk would end the command, so an entry counts only with the checksum that `seal` writes next
to it, and without space for more the folder is only read.

An entry is machine code, so a folder is used only if nobody but this user and root can write to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import pathlib
import stat
import tempfile

VARIABLE = "MIDI_LSTM_CACHE"  # a folder, or `OFF`
OFF = "off"
FLAGS = "TF_XLA_FLAGS"
DEVICE = "CPU"
MAX_ENTRIES = 64  # of one folder, 1 to 3 MB each
SPACE = 1 << 25  # bytes that must be free
_PROCESSOR = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU ")
_ENVIRONMENT = ("XLA_", "TF_XLA_", "TF_ENABLE_ONEDNN_", "TF_SET_ONEDNN_", "ONEDNN_", "DNNL_")
_ENTRIES, _CHECKSUM = "*.pb", ".sha256"

_in_use: pathlib.Path | None = None


def use() -> None:
    """Makes TensorFlow, which is not imported yet, use the cache; without a safe folder it compiles as always."""
    global _in_use
    if "persistent_cache" in os.environ.get(FLAGS, ""):
        return
    try:
        folder = _folder()
        if folder is None:
            return
        flags = [f"--tf_xla_persistent_cache_directory={folder}", f"--tf_xla_persistent_cache_device_types={DEVICE}"]
        if _can_grow(folder):
            _tidy(folder)
            _in_use = folder
        elif all(map(_is_whole, folder.glob(_ENTRIES))):
            flags.append("--tf_xla_persistent_cache_read_only=true")
        else:
            return
    except (OSError, RuntimeError, importlib.metadata.PackageNotFoundError):  # RuntimeError: no home folder is known
        return
    os.environ[FLAGS] = " ".join([os.environ.get(FLAGS, ""), *flags]).strip()


def seal() -> None:
    """Writes the checksums of new entries; those of a process that is killed before are compiled once more."""
    if _in_use is None:
        return
    with contextlib.suppress(OSError):  # it is only a cache
        for entry in _in_use.glob(_ENTRIES):
            checksum = _checksum_file(entry)
            if not checksum.exists():
                handle, name = tempfile.mkstemp(dir=_in_use)
                with os.fdopen(handle, "w") as file:
                    file.write(_checksum(entry))
                os.replace(name, checksum)


def _folder() -> pathlib.Path | None:
    """The folder for this program, processor and environment; None if there is none, or it is not safe."""
    given = os.environ.get(VARIABLE)
    if given == OFF:
        return None
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(given or pathlib.Path(home, "midi-lstm")).absolute()
    own = folder / f"xla-{_key()}"
    with contextlib.suppress(OSError):  # one that cannot be made may exist and be readable
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own.mkdir(mode=0o700, exist_ok=True)
    own = own.resolve()
    has_space = len(str(own).split()) > 1  # which separates flags
    return own if own.is_dir() and _is_safe(own) and not has_space else None


def _is_safe(folder: pathlib.Path) -> bool:
    """Whether only this user and root can write to it, or put another in its place."""
    for number, part in enumerate([folder, *folder.parents]):
        status = part.stat()
        is_shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        is_kept = number > 1 and status.st_mode & stat.S_ISVTX  # in /tmp, others cannot rename what is not theirs
        if status.st_uid not in (0, os.geteuid()) or is_shared and not is_kept:
            return False
    return True


def _key() -> str:
    """Of what machine code depends on besides the program that XLA compares."""
    environment = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(_ENVIRONMENT))
    first = pathlib.Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    processor = [line for line in first.splitlines() if line.startswith(_PROCESSOR)]
    parts = [importlib.metadata.version("tensorflow"), os.uname().machine, str(len(os.sched_getaffinity(0)))]
    return hashlib.sha256("\n".join([*parts, *processor, *environment]).encode()).hexdigest()[:16]


def _can_grow(folder: pathlib.Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, SPACE)
    except OSError:
        return False
    return True


def _tidy(folder: pathlib.Path) -> None:
    """Deletes entries without their checksum, and the oldest of too many."""
    entries = sorted(folder.glob(_ENTRIES), key=lambda entry: entry.stat().st_mtime, reverse=True)
    for number, entry in enumerate(entries):
        if number >= MAX_ENTRIES or not _is_whole(entry):
            entry.unlink(missing_ok=True)
            _checksum_file(entry).unlink(missing_ok=True)


def _is_whole(entry: pathlib.Path) -> bool:
    checksum = _checksum_file(entry)
    return checksum.exists() and checksum.read_text() == _checksum(entry)


def _checksum_file(entry: pathlib.Path) -> pathlib.Path:
    return entry.with_suffix(_CHECKSUM)


def _checksum(entry: pathlib.Path) -> str:
    return hashlib.sha256(entry.read_bytes()).hexdigest()
