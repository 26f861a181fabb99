"""Which pieces `--group-regex` ties: those whose paths, or whose equals' paths, it finds the same text in."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from beam_pipelines.encoding.ledger import Duplicate
from beam_pipelines.planning import digests
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.settings.encode_settings import Settings
from job_runtime.spool import ROWS_AT_ONCE, in_blocks


def find_path_ties(
    headers: PartHeaders, piece_of: np.ndarray, is_old: np.ndarray, dropped: Iterable[Duplicate], settings: Settings
) -> np.ndarray:
    """`[m, 2]` a piece and the number of its path, of paths with several pieces or equals.

    Args:
      piece_of: `[rows]`, the piece of each row; the paths of all equals count.
      is_old: `[pieces]` bool.
      dropped: the older dataset's duplicates, whose paths count too.
    """
    if settings.group_regex is None:
        return np.zeros((0, 2), np.int64)
    paths = [digests.pack(block["path_group"]) for block in headers.rows.blocks()]
    pieces = [piece_of]
    for path_groups, kept in _of_dropped(headers, piece_of, is_old, dropped, settings):
        paths.append(path_groups)
        pieces.append(kept)
    return number_paths(np.concatenate([np.zeros(0, digests.DTYPE), *paths]), np.concatenate(pieces))


def number_paths(path: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """`[m, 2]` each piece with the number of its path, without empty paths and those of one row."""
    by_path = np.argsort(path, kind="stable")
    by_path = by_path[path[by_path] != b""]
    is_first = np.ones(len(by_path) + 1, bool)
    is_first[1:-1] = path[by_path[1:]] != path[by_path[:-1]]
    is_shared = ~(is_first[:-1] & is_first[1:])
    number = np.cumsum(is_first[:-1][is_shared]) - 1
    return np.stack([piece[by_path[is_shared]], number], axis=1)


def _of_dropped(
    headers: PartHeaders, piece_of: np.ndarray, is_old: np.ndarray, dropped: Iterable[Duplicate], settings: Settings
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The path groups of duplicates whose kept piece is here, and that piece."""
    lines = iter(dropped)
    first = list(itertools.islice(lines, 1))
    if not first:
        return
    rows = np.flatnonzero(is_old[piece_of])
    keys = hash_sources(headers.sources.take(some) for some in in_blocks(rows))
    order = np.lexsort([piece_of[rows], keys])  # of two old pieces with one source, the one with the smaller piece_id
    keys, old = keys[order], piece_of[rows[order]]
    for path_groups, kept in kept_of_lines(itertools.chain(first, lines), settings):
        at, is_there = digests.find(keys, kept)
        yield path_groups[is_there], old[at[is_there]]


def kept_of_lines(lines: Iterable[Duplicate], settings: Settings) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of an older dataset's duplicates, some at a time, the path group, and the hash of the source that was kept."""
    lines = iter(lines)
    while some := list(itertools.islice(lines, ROWS_AT_ONCE)):
        path_groups = np.array([settings.path_group(line.path) for line in some], "S32")
        yield digests.pack(path_groups), hash_sources([[line.kept for line in some]])


def hash_sources(blocks: Iterable[Iterable[str]]) -> np.ndarray:
    """`[n]` of digests.DTYPE, a hash of each source."""
    packed = [
        b"".join(hashlib.sha256(source.encode("utf-8", "surrogateescape")).digest()[:16] for source in block)
        for block in blocks
    ]
    return np.frombuffer(b"".join(packed), digests.DTYPE)
