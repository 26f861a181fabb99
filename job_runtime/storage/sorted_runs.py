"""Sorts many strings without an object for each: in runs, which go to a temporary file once sorted, merged lazily."""

from __future__ import annotations

import heapq
import itertools
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

RUN_LENGTH = 50_000  # strings that are objects at a time; runs that fit a processor's cache are sorted fastest
_BLOCK = 1_000  # strings compressed together, so that merging decompresses a little of each run


def sort_strings(strings: Iterable[str]) -> Iterator[str]:
    """The strings in order; reads all of them before it yields the first. They must not contain NUL."""
    strings = iter(strings)
    runs: list[list[int]] = []
    last: list[str] = []
    file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the last iterator)
    while run := list(itertools.islice(strings, RUN_LENGTH)):
        run.sort()
        if len(run) < RUN_LENGTH:
            last = run
        else:
            runs.append(list(_pack(run, file)))
    file.flush()
    return heapq.merge(*(_unpack(ends, file) for ends in runs), last) if runs else iter(last)


def _pack(run: list[str], file: BinaryIO) -> Iterator[int]:
    """Appends the run in compressed blocks; yields where it begins, and where each block ends."""
    yield file.tell()
    for begin in range(0, len(run), _BLOCK):
        file.write(zlib.compress("\0".join(run[begin : begin + _BLOCK]).encode("utf-8", "surrogatepass"), 1))
        yield file.tell()


def _unpack(ends: list[int], file: BinaryIO) -> Iterator[str]:
    for begin, end in itertools.pairwise(ends):
        block = os.pread(file.fileno(), end - begin, begin)
        yield from zlib.decompress(block).decode("utf-8", "surrogatepass").split("\0")
