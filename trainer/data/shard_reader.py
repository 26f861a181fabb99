"""The shards of a split, checked against `dataset_info.json` and laid out a block at a time."""

from __future__ import annotations

import collections
import contextlib
import errno
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from job_runtime import io_errors, storage
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DatasetInfo
from trainer.data.pieces import BLOCK_EVENTS, lay_out

S = TypeVar("S")
T = TypeVar("T")

READERS = 4  # shards that are fetched at once
SMALL_COLUMNS = ("pitch", "velocity", "program")  # of one byte


class LaidOut(NamedTuple):
    """Some pieces as `lay_out` gives them: all positions count from the first of these."""

    events: np.ndarray
    pieces: np.ndarray
    text: bytes


def read_shards(root: str, info: DatasetInfo, split: str, dtype: np.dtype) -> Iterator[LaidOut]:
    """The pieces of every shard, in the order of the shards.

    Args:
      dtype: of the events.

    Raises:
      UserError: after all shards: some are missing or damaged, or do not hold what `dataset_info.json` says.
      OSError: a disk or a bucket fails, perhaps only for now; names the path.
    """
    sizes = info.splits[split]
    shards = list(zip(dataset_info.shard_paths(root, info, split), sizes.shard_lengths, strict=True))
    problems: list[str] = []
    num_notes = 0
    with contextlib.closing(_in_order(_fetch, [path for path, _ in shards], label=f"reading {split}")) as fetched:
        for (path, length), data in zip(shards, fetched, strict=True):
            found: list[str] = []
            for laid in _lay_out_shard(path, data, info, split, dtype, length, found):
                num_notes += len(laid.events) - len(laid.pieces)
                yield laid
            says = storage.join(root, dataset_info.FILE_NAME)
            problems += [problem.replace(dataset_info.FILE_NAME, says) for problem in found]
    if num_notes != sizes.num_notes and not problems:
        problems.append(
            f"{root}: the shards of {split} hold {num_notes} notes, want {sizes.num_notes}"
            f" as {dataset_info.FILE_NAME} says"
        )
    if problems:
        raise UserError(problems)


def _fetch(path: str) -> bytes | str:
    """The bytes of a shard, or what is wrong with it."""
    try:
        return records.read_shard(path)
    except ValueError as error:
        return str(error)
    except OSError as error:
        if error.errno not in io_errors.OF_A_NAME | {errno.ENOENT}:
            raise
        return f"{path}: cannot be read: {io_errors.reason(error)}"


def _in_order(read: Callable[[S], T], shards: Sequence[S], *, label: str) -> Generator[T, None, None]:
    """Reads the shards in order, a few at a time: a bucket answers slowly, but answers many requests at once."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="shards") as pool:
        remaining, ahead = iter(shards), collections.deque[Future[T]]()
        try:
            with progress(shards, unit="shards", label=label) as shown:
                for _ in shown:
                    ahead.extend(
                        pool.submit(read, shard) for shard in itertools.islice(remaining, READERS - len(ahead))
                    )
                    yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _lay_out_shard(
    path: str,
    data: bytes | str,
    info: DatasetInfo,
    split: str,
    dtype: np.dtype,
    length: int,
    problems: list[str],
) -> Iterator[LaidOut]:
    """The pieces of a shard, some at a time; `problems` gets what is wrong with it.

    Args:
      data: as `_fetch` gives it.
      length: how many pieces it must hold.
    """
    if isinstance(data, str):
        problems.append(data)
        return
    unknown: dict[str, set[int]] = {name: set() for name in (*SMALL_COLUMNS, "duration")}
    num_pieces = 0
    try:
        for block in _in_blocks(records.read_pieces(path, time_base=info.time_base, data=data)):
            for name, values in unknown.items():
                values |= _unknown(np.concatenate([getattr(piece.notes, name) for piece in block]), info, split, name)
            num_pieces += len(block)
            yield LaidOut(
                *lay_out(
                    [piece.notes for piece in block],
                    dtype,
                    piece_ids=[piece.piece_id for piece in block],
                    group_ids=[piece.group_id for piece in block],
                    sources=[piece.source for piece in block],
                    labels=[piece.labels for piece in block],
                )
            )
    except ValueError as error:
        problems.append(str(error) if str(error).startswith(path) else f"{path}: {error}")
        return
    if num_pieces != length:
        problems.append(f"{path}: holds {num_pieces} pieces, want {length}; {dataset_info.FILE_NAME} says otherwise")
    for name, values in unknown.items():
        if values:
            shown = ", ".join(map(str, sorted(values)[:5]))
            problems.append(f"{path}: has {name} {shown}; {dataset_info.FILE_NAME} says otherwise")


def _in_blocks(pieces: Iterator[records.Piece]) -> Iterator[list[records.Piece]]:
    block: list[records.Piece] = []
    size = 0
    for piece in pieces:
        block.append(piece)
        size += len(piece.notes) + 1
        if size >= BLOCK_EVENTS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _unknown(values: np.ndarray, info: DatasetInfo, split: str, name: str) -> set[int]:
    """The values that `dataset_info.json` does not count in the split; of durations only those above the largest."""
    known = info.histograms[split][name].values
    if not len(values) or not known:
        return set()
    if name == "duration":
        return {int(values.max())} if values.max() > known[-1] else set()
    present = np.bincount(values, minlength=256)
    present[list(known)] = 0
    return set(np.flatnonzero(present).tolist())
