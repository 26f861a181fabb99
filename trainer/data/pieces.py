"""A split of a dataset in memory: all its pieces as columns, one after the other.

An event is a note, or the END after a piece's last note. A note takes 4 bytes per field here, so a split of a hundred
million notes takes 2 GB.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import functools
import itertools
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from job_runtime import io_errors, storage
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec import fields
from midi_codec.dataset import dataset_info, records
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import DRUM_PROGRAM, Notes

S = TypeVar("S")
T = TypeVar("T")

READERS = 4  # shards that are read at once


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The events of many pieces.

    Attributes:
      raw: `[num_events, num_fields]` int32, values in the order of the field table; zeros for an END.
      first_event: `[num_pieces + 1]` int64, where each piece begins; its END is the event before the next piece.
      milliseconds_per_tick: `[num_pieces]` float32.
      is_drum: `[num_events]` bool, notes whose pitch stands for an instrument and must not be transposed.
      piece_id: `[num_pieces]` bytes of 32 characters.
      group: `[num_pieces]` int64, the same for all pieces of a group: near-duplicates, takes of the same music.
      source: of each piece, its path below the corpus; empty where it is not from a dataset.
    """

    raw: np.ndarray
    first_event: np.ndarray
    milliseconds_per_tick: np.ndarray
    is_drum: np.ndarray
    piece_id: np.ndarray
    group: np.ndarray
    source: Sequence[str]

    @property
    def num_pieces(self) -> int:
        return len(self.first_event) - 1

    @property
    def num_notes(self) -> int:
        return len(self.raw) - self.num_pieces

    @property
    def num_events(self) -> np.ndarray:
        """`[num_pieces]` int64, the events of each piece, END included."""
        return np.diff(self.first_event)

    def count_duplicates(self, table: fields.FieldTable) -> int:
        """How many notes repeat the onset, pitch and program of the one before them."""
        columns = [self.raw[:, table.names.index(name)] for name in ("pitch", "program") if name in table.names]
        same = self.raw[1:, table.names.index("step")] == 0
        for column in columns:
            same &= column[1:] == column[:-1]
        same[self.first_event[1:-1] - 1] = False  # a piece's first note follows the END of another
        same[self.first_event[1:] - 2] = False  # an END
        return int(same.sum())

    @functools.cached_property
    def onset(self) -> np.ndarray:
        """`[num_events]` int32, ticks from the start of the piece to each event; an END has those of the last note.

        Computed at its first use and kept, at 4 bytes per note. The first field of a table is the step.
        """
        total = np.cumsum(self.raw[:, 0], dtype=np.int64)
        total -= np.repeat(total[self.first_event[:-1]], self.num_events)
        return total.astype(np.int32)


def stack_pieces(
    pieces: Sequence[Notes],
    table: fields.FieldTable,
    *,
    piece_ids: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
) -> Pieces:
    """Lays out pieces one after the other, each with its END and a group of its own.

    By default `piece_ids` are computed from the notes.
    """
    names = [notes.piece_id for notes in pieces] if piece_ids is None else piece_ids
    end = np.zeros((1, len(table)), np.int32)
    blocks = [block for notes in pieces for block in (table.raw(notes), end)]
    drums = [np.append(notes.program == DRUM_PROGRAM, False) for notes in pieces]
    lengths = np.array([len(notes) + 1 for notes in pieces], np.int64)
    return Pieces(
        raw=np.concatenate(blocks) if blocks else np.zeros((0, len(table)), np.int32),
        first_event=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        milliseconds_per_tick=np.array([1000 * notes.seconds_per_tick for notes in pieces], np.float32),
        is_drum=np.concatenate(drums) if drums else np.zeros(0, bool),
        piece_id=np.array([name.encode("ascii") for name in names], "S32"),
        group=np.arange(len(pieces)),
        source=[""] * len(pieces) if sources is None else sources,
    )


def load_splits(
    root: str, info: dataset_info.DatasetInfo, splits: Sequence[str], table: fields.FieldTable
) -> list[Pieces]:
    """`load_split` for each split; raises UserError with the problems of all of them."""
    loaded: list[Pieces] = []
    problems: list[str] = []
    for split in splits:
        try:
            loaded.append(load_split(root, info, split, table))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return loaded


def load_split(root: str, info: dataset_info.DatasetInfo, split: str, table: fields.FieldTable) -> Pieces:
    """Reads every shard of a split; the pieces come in the order of the shards.

    Raises:
      UserError: shards are missing or damaged, or do not hold what `dataset_info.json` says; all of them are named.
      OSError: a disk or a bucket fails, perhaps only for now; names the path.
    """
    paths, sizes = dataset_info.shard_paths(root, info, split), info.splits[split]
    expected = list(zip(paths, sizes.shard_lengths, strict=True))
    num_events = sizes.num_notes + sizes.num_pieces
    raw, is_drum = np.zeros((num_events, len(table)), np.int32), np.zeros(num_events, bool)
    loaded: list[tuple[Pieces, list[str]]] = []
    problems: list[str] = []
    end = 0
    read = functools.partial(_read_shard, root=root, time_base=info.time_base, table=table)
    with contextlib.closing(_in_order(read, expected, label=f"reading {split}")) as shards:
        for read_shard in shards:
            if isinstance(read_shard, UserError):
                problems += read_shard.problems
                continue
            shard, group_ids = read_shard
            begin, end = end, end + len(shard.raw)
            if end <= num_events:
                raw[begin:end], is_drum[begin:end] = shard.raw, shard.is_drum
            empty = dataclasses.replace(shard, raw=shard.raw[:0], is_drum=shard.is_drum[:0])  # frees the notes
            loaded.append((empty, group_ids))
    if end != num_events and not problems:
        problems.append(
            f"{root}: the shards of {split} hold {end - sizes.num_pieces} notes, want {sizes.num_notes}"
            f" as {dataset_info.FILE_NAME} says"
        )
    if problems:
        raise UserError(problems)
    return _join(loaded, raw, is_drum)


def _read_shard(
    shard: tuple[str, int], *, root: str, time_base: str, table: fields.FieldTable
) -> tuple[Pieces, list[str]] | UserError:
    """The pieces of a shard and their groups, or what is wrong with it.

    Args:
      shard: its path, and how many pieces it must hold.
    """
    path, length = shard
    try:
        pieces = list(records.read_pieces(path, time_base=time_base))
        stacked = stack_pieces(
            [piece.notes for piece in pieces],
            table,
            piece_ids=[piece.piece_id for piece in pieces],
            sources=[piece.source for piece in pieces],
        )
    except ValueError as error:
        return UserError(str(error) if str(error).startswith(path) else f"{path}: {error}")
    except OSError as error:
        if error.errno not in io_errors.OF_A_NAME | {errno.ENOENT}:
            raise
        return UserError(f"{path}: cannot be read: {io_errors.reason(error)}")
    problems = table.problems(NoteBatch.from_notes([piece.notes for piece in pieces], time_base))
    if len(pieces) != length:
        problems.insert(0, f"holds {len(pieces)} pieces, want {length}")
    if problems:
        says = storage.join(root, dataset_info.FILE_NAME)
        return UserError(f"{path}: {problem}; {says} says otherwise" for problem in problems)
    return stacked, [piece.group_id for piece in pieces]


def _in_order(read: Callable[[S], T], shards: Sequence[S], *, label: str) -> Generator[T, None, None]:
    """Reads the shards in order, a few at a time: a bucket answers slowly, but answers many requests at once."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="shards") as pool:
        remaining, ahead = iter(shards), collections.deque[Future[T]]()
        try:
            with progress(shards, unit="shard", label=label) as shown:
                for _ in shown:
                    ahead.extend(
                        pool.submit(read, shard) for shard in itertools.islice(remaining, READERS - len(ahead))
                    )
                    yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _join(loaded: Sequence[tuple[Pieces, Sequence[str]]], raw: np.ndarray, is_drum: np.ndarray) -> Pieces:
    shards = [shard for shard, _ in loaded]
    lengths = np.concatenate([np.zeros(1, np.int64), *(shard.num_events for shard in shards)])
    groups = [group for _, group_ids in loaded for group in group_ids]
    return Pieces(
        raw=raw,
        first_event=np.cumsum(lengths),
        milliseconds_per_tick=np.concatenate(
            [np.zeros(0, np.float32), *(shard.milliseconds_per_tick for shard in shards)]
        ),
        is_drum=is_drum,
        piece_id=np.concatenate([np.zeros(0, "S32"), *(shard.piece_id for shard in shards)]),
        group=np.unique(groups, return_inverse=True)[1].astype(np.int64),
        source=[path for shard in shards for path in shard.source],
    )
