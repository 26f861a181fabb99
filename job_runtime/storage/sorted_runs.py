"""Sorts many strings without an object for each: in runs, which are compressed once sorted and merged lazily."""

from __future__ import annotations

import heapq
import itertools
import zlib
from collections.abc import Iterable, Iterator

RUN_LENGTH = 50_000  # strings that are objects at a time; runs that fit a processor's cache are sorted fastest
_BLOCK = 1_000  # strings compressed together, so that merging decompresses a little of each run


def sort_strings(strings: Iterable[str]) -> Iterator[str]:
    """The strings in order; reads all of them before it yields the first. They must not contain NUL."""
    strings = iter(strings)
    runs: list[list[bytes]] = []
    last: list[str] = []
    while run := list(itertools.islice(strings, RUN_LENGTH)):
        run.sort()
        if len(run) < RUN_LENGTH:
            last = run
        else:
            runs.append(_pack(run))
    return heapq.merge(*map(_unpack, runs), last) if runs else iter(last)


def _pack(run: list[str]) -> list[bytes]:
    blocks = (run[begin : begin + _BLOCK] for begin in range(0, len(run), _BLOCK))
    return [zlib.compress("\0".join(block).encode("utf-8", "surrogatepass"), 1) for block in blocks]


def _unpack(blocks: list[bytes]) -> Iterator[str]:
    for block in blocks:
        yield from zlib.decompress(block).decode("utf-8", "surrogatepass").split("\0")
