"""A split on local disk, as the columns that training reads: built once from the shards, then mapped into memory.

One file per split, named by the dataset's hash. All numbers are little-endian.

    header    4096 bytes: JSON of what the file holds and its checksums, then spaces
    events    `[num_events]` of `pieces.event_dtype`
    index     `[num_pieces]` of `pieces.PIECE`
    text      the sources and labels of the pieces, UTF-8

Processes that share a folder share the file: the first one builds it under a temporary name while the others wait, and
the kernel gives all of them the same pages. Every opening checks the header and the CRC-32C of everything, at some
gigabytes per second. A file that is damaged, or of another version, is built again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import logging
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Protocol

import google_crc32c
import numpy as np

from job_runtime import command, io_errors, storage
from job_runtime.logs.progress import stage
from job_runtime.problem_report import UserError
from job_runtime.storage import local, partial_files
from midi_codec import fields
from midi_codec.dataset.dataset_info import DatasetInfo
from trainer.data.pieces import PIECE, Pieces, event_dtype
from trainer.data.shard_reader import read_shards

FORMAT_VERSION = 2  # 1: without labels
HEADER_BYTES = 4096
CHECKED_BYTES = 1 << 22  # at a time
POLL_SECONDS = 0.2
SECTIONS = ("events", "index", "text")
HELP = (
    "local folder for the notes as training reads them, 9 to 11 bytes each (default: OUTPUT/cache if that is local,"
    " otherwise the system's folder for temporary files)"
)
_log = logging.getLogger(__name__)


class Stop(Protocol):
    """`command.StopSignal`, and what a study makes of it."""

    @property
    def requested(self) -> bool: ...


def folder_problems(folder: str | None) -> list[str]:
    """Why caches cannot be kept there."""
    if folder is not None and storage.is_remote(folder):
        return [f"--cache-dir is {folder}, want a local folder, on a disk of this machine"]
    return storage.output_problems("--cache-dir", folder)


def default_folder(output: str) -> str:
    """Within a local output folder, otherwise in the system's folder for temporary files."""
    if not storage.is_remote(output):
        return storage.join(output, "cache")
    return os.path.join(tempfile.gettempdir(), f"midi-lstm-cache-{os.getuid()}")


def load_splits(
    root: str,
    info: DatasetInfo,
    splits: Sequence[str],
    table: fields.FieldTable,
    *,
    folder: str | None = None,
    stop: Stop | None = None,
) -> list[Pieces]:
    """`load_split` for each split; raises UserError with the problems of all of them."""
    loaded: list[Pieces] = []
    problems: list[str] = []
    for split in splits:
        with command.collecting(problems):
            loaded.append(load_split(root, info, split, table, folder=folder, stop=stop))
    if problems:
        raise UserError(problems)
    return loaded


def load_split(
    root: str,
    info: DatasetInfo,
    split: str,
    table: fields.FieldTable,
    *,
    folder: str | None = None,
    stop: Stop | None = None,
) -> Pieces:
    """The pieces of a split in the order of the shards, mapped from its cache, which is built if it is not there.

    Args:
      folder: of caches; None for a file without a name that ends with the process.
      stop: looked at while a cache is built.

    Raises:
      UserError: shards are missing or damaged, or do not hold what `dataset_info.json` says, and all of them are named;
        or the folder cannot be written.
      command.Interrupted: a signal came.
      OSError: a disk or a bucket fails, perhaps only for now; names the path.
    """
    cache = _Cache(root, info, split, stop)
    if folder is None:
        folder = tempfile.gettempdir()
        with cache.building(folder) as path:
            return cache.map(path, table, folder)
    path = os.path.join(folder, f"{info.hash}-{split}.columns")
    with _errors_named(folder):
        os.makedirs(folder, exist_ok=True)
    if cache.trouble(path) is None:
        return cache.map(path, table, folder)
    with _only_builder(folder, f".{info.hash}-{split}.lock", stop):
        trouble = cache.trouble(path)  # another process may have built it meanwhile
        if trouble is not None:
            if trouble:
                _log.warning("%s is built again: %s", path, trouble)
            partial_files.delete_left(folder, recursive=False)
            with cache.building(folder) as partial, _errors_named(folder):
                with open(partial, "rb") as file:
                    os.fsync(file.fileno())
                os.replace(partial, path)
        return cache.map(path, table, folder)


class _Cache:
    """The file of one split: how it is built, checked and mapped."""

    def __init__(self, root: str, info: DatasetInfo, split: str, stop: Stop | None):
        self._root, self._info, self._split, self._stop = root, info, split, stop
        sizes = info.splits[split]
        self._num_pieces, self._num_events = sizes.num_pieces, sizes.num_notes + sizes.num_pieces
        durations = info.histograms[split]["duration"].values
        self._dtype = event_dtype(durations[-1] if durations else fields.MAX_TICK)
        self._begins = [HEADER_BYTES, HEADER_BYTES + self._num_events * self._dtype.itemsize]
        self._begins.append(self._begins[1] + sizes.num_pieces * PIECE.itemsize)
        self._wanted = {
            "format_version": FORMAT_VERSION,
            "dataset": info.hash,
            "split": split,
            "num_events": self._num_events,
            "num_pieces": sizes.num_pieces,
            "event_bytes": self._dtype.itemsize,
            "piece_bytes": PIECE.itemsize,
        }

    def map(self, path: str, table: fields.FieldTable, folder: str) -> Pieces:
        """The pieces of a whole file."""
        with io_errors.named(path), open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        events = np.frombuffer(mapped, self._dtype, self._num_events, self._begins[0])
        index = np.frombuffer(mapped, PIECE, self._num_pieces, self._begins[1])
        text = np.frombuffer(mapped, np.uint8)[self._begins[2] :]
        return Pieces(events, index, text, table.names, folder, (mapped, self._begins[0]), table.labels)

    def trouble(self, path: str) -> str | None:
        """None if the file is whole, empty if there is none, otherwise what is wrong with it."""
        try:
            with local.open_regular(path) as file:
                header = json.loads(file.read(HEADER_BYTES))
                checksums = header.pop("checksums")
                end = self._begins[2] + header.pop("text_bytes")
                if header != self._wanted:
                    return f"its header is {header}, want {self._wanted}"
                if (size := os.fstat(file.fileno()).st_size) != end:
                    return f"it has {size} bytes, want {end}"
                with stage(f"checking {self._split}") if end > 1 << 30 else contextlib.nullcontext():
                    found = [self._checksum(file, *bounds) for bounds in itertools.pairwise([*self._begins, end])]
                return None if found == checksums else f"its checksums are {found}, want {checksums}"
        except FileNotFoundError:
            return ""
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return f"its header is damaged: {error}"
        except OSError as error:
            return io_errors.reason(error)

    def _checksum(self, file: BinaryIO, begin: int, end: int) -> int:
        file.seek(begin)
        checksum = 0
        while begin < end:
            self._check_stop()
            data = file.read(min(CHECKED_BYTES, end - begin))
            checksum = google_crc32c.extend(checksum, data)
            begin += len(data)
        return checksum

    @contextlib.contextmanager
    def building(self, folder: str) -> Iterator[str]:
        """Yields the path of a whole new file, which is deleted at the end unless it has been renamed."""
        need, free = self._begins[2], shutil.disk_usage(folder).free
        if need > free:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {self._size(need)}, {free:,} are free", folder)
        with contextlib.ExitStack() as stack:
            with _errors_named(folder):
                path, file = stack.enter_context(partial_files.create(folder))
            self._write(file, folder)
            yield path

    def _write(self, file: BinaryIO, folder: str) -> None:
        ends, checksums, firsts = list(self._begins), [0, 0, 0], (0, 0)
        for laid in read_shards(self._root, self._info, self._split, self._dtype):
            self._check_stop()
            laid.pieces["first_event"] += firsts[0]
            laid.pieces["source_begin"] += firsts[1]
            firsts = firsts[0] + len(laid.events), firsts[1] + len(laid.text)
            if firsts[0] > self._num_events:
                continue  # the reader will say so
            for number, data in enumerate((laid.events.tobytes(), laid.pieces.tobytes(), laid.text)):
                with _errors_named(folder, self._size(self._begins[2])):
                    _write_at(file, ends[number], data)
                ends[number] += len(data)
                checksums[number] = google_crc32c.extend(checksums[number], data)
        header = {**self._wanted, "text_bytes": firsts[1], "checksums": checksums}
        with _errors_named(folder, self._size(self._begins[2])):
            _write_at(file, 0, json.dumps(header).encode().ljust(HEADER_BYTES))

    def _check_stop(self) -> None:
        if self._stop is not None and self._stop.requested:
            raise command.Interrupted(f"the cache of {self._split} was not ready")

    def _size(self, num_bytes: int) -> str:
        return f"the cache of {self._split} takes {num_bytes:,} bytes; --cache-dir names another folder"


def _write_at(file: BinaryIO, position: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(file.fileno(), left, position)
        left, position = left[written:], position + written


@contextlib.contextmanager
def _errors_named(folder: str, advice: str = "") -> Iterator[None]:
    """Errors of a disk name the folder; one that must not be written is the user's mistake."""
    try:
        with io_errors.named(folder):
            yield
    except OSError as error:
        reason = io_errors.reason(error)
        if error.errno in io_errors.OF_A_NAME | {errno.EROFS, errno.EEXIST, errno.ENOENT}:
            raise UserError(f"the folder of caches {folder!r} cannot be written: {reason}") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and advice:
            raise OSError(error.errno, f"{reason}: {advice}", folder) from error
        raise


@contextlib.contextmanager
def _only_builder(folder: str, name: str, stop: Stop | None) -> Iterator[None]:
    """Waits until no other process builds the same file. Without locks the last to finish wins."""
    with contextlib.ExitStack() as stack:
        with _errors_named(folder):
            lock = stack.enter_context(open(os.path.join(folder, name), "wb"))  # stays: a new one would be another lock
        if not _has_lock(lock):
            with stage("waiting for another process to build the cache"):
                while not _has_lock(lock):
                    if stop is not None and stop.requested:
                        raise command.Interrupted("another process was building the cache")
                    time.sleep(POLL_SECONDS)
        yield


def _has_lock(file: BinaryIO) -> bool:
    """Whether the lock is ours by now, or there are no locks here."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
