"""Pieces as columns, one after the other: of a split in its cache on disk (`trainer.data.split_cache`), or in memory.

An event is a note, or the END after a piece's last note. Nothing here holds the notes of a whole split in memory:
a batch copies its windows, and passes over a split go from block to block.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from job_runtime import io_errors
from midi_codec import fields
from midi_codec.dataset import labels as labels_lib
from midi_codec.dataset.labels import Labels, Vocabulary
from midi_codec.music.notes import DRUM_PROGRAM, Notes

BLOCK_EVENTS = 1 << 18  # in memory at a time, or one piece if that is longer
BLOCK_PIECES = 1 << 16
PIECE = np.dtype(
    [
        ("first_event", "<i8"),
        ("num_events", "<i4"),  # END included
        ("milliseconds_per_tick", "<f4"),
        ("piece_id", "S32"),
        ("group_id", "S32"),  # the same for near-duplicates, and takes of the same music
        ("source_begin", "<i8"),  # of its path below the corpus, in `Pieces.text`
        ("source_size", "<i4"),
        ("labels_size", "<i4"),  # of its labels, after its source
    ]
)


def event_dtype(longest: int) -> np.dtype:
    """One event: 9 bytes where every duration is below 2**16 ticks, otherwise 11.

    The onset counts from the start of the piece. An END has that of the last note, and zeros.
    """
    duration = "<u2" if longest < 1 << 16 else "<i4"
    return np.dtype([("onset", "<i4"), ("duration", duration), ("pitch", "u1"), ("velocity", "u1"), ("program", "u1")])


@dataclasses.dataclass(frozen=True)
class Block:
    """Some consecutive pieces.

    Attributes:
      raw: `[num_events, num_fields]` int32, values in the order of the field table; zeros for an END.
      first_event: `[num_pieces + 1]` int64, where each piece begins; its END is the event before the next piece.
    """

    raw: np.ndarray
    first_event: np.ndarray

    @functools.cached_property
    def is_end(self) -> np.ndarray:
        """`[num_events]` bool."""
        found = np.zeros(len(self.raw), bool)
        found[self.first_event[1:] - 1] = True
        return found


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The events of many pieces.

    Attributes:
      events: `[n]` of `event_dtype`.
      index: `[num_pieces]` of `PIECE`; may name a piece more than once.
      text: uint8, the sources, each followed by the labels of its piece (`midi_codec.dataset.labels`).
      names: of the fields, in the order of the table.
      folder: for scratch files; None keeps them in memory.
      mapped: the file that the events are mapped from, and where they begin in it; None if they are in memory.
      vocabularies: of the labels that a model is conditioned on.
    """

    events: np.ndarray
    index: np.ndarray
    text: np.ndarray
    names: tuple[str, ...]
    folder: str | None = None
    mapped: tuple[mmap.mmap, int] | None = None
    vocabularies: tuple[Vocabulary, ...] = ()

    @property
    def num_pieces(self) -> int:
        return len(self.index)

    @functools.cached_property
    def total_events(self) -> int:
        return int(self.num_events.sum(dtype=np.int64))

    @property
    def num_notes(self) -> int:
        return self.total_events - self.num_pieces

    @property
    def num_events(self) -> np.ndarray:
        """`[num_pieces]` int32, the events of each piece, END included."""
        return self.index["num_events"]

    @property
    def first_event(self) -> np.ndarray:
        """`[num_pieces]` int64, where each piece begins."""
        return self.index["first_event"]

    @property
    def piece_id(self) -> np.ndarray:
        """`[num_pieces]` bytes of 32 characters."""
        return self.index["piece_id"]

    @property
    def group(self) -> np.ndarray:
        """`[num_pieces]` int64, a number of each group."""
        return np.unique(self.index["group_id"], return_inverse=True)[1]

    def source(self, piece: int) -> str:
        """Its path below the corpus; empty where it is not from a dataset."""
        begin, size = int(self.index["source_begin"][piece]), int(self.index["source_size"][piece])
        return self.text[begin : begin + size].tobytes().decode("utf-8", "surrogateescape")

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """`[num_pieces, labels]` int32, the index of each piece's values in the vocabularies; 0 for unknown."""
        found = np.zeros((self.num_pieces, len(self.vocabularies)), np.int32)
        if not self.vocabularies:
            return found
        begins = (self.index["source_begin"] + self.index["source_size"]).tolist()
        rows: dict[bytes, list[int]] = {}
        for piece, (begin, size) in enumerate(zip(begins, self.index["labels_size"].tolist(), strict=True)):
            text = self.text[begin : begin + size].tobytes()
            if text not in rows:
                labels = labels_lib.parse(text)
                rows[text] = [each.index(labels.get(each.name)) for each in self.vocabularies]
            found[piece] = rows[text]
        return found

    def blocks(self) -> Iterator[Block]:
        """All pieces in their order, a few at a time."""
        for begin in range(0, self.num_pieces, BLOCK_PIECES):
            ends = np.cumsum(self.num_events[begin : begin + BLOCK_PIECES], dtype=np.int64)
            first = 0
            while first < len(ends):
                before = ends[first - 1] if first else 0
                last = max(int(np.searchsorted(ends, before + BLOCK_EVENTS, side="right")), first + 1)
                yield self.block(begin + first, begin + last)
                first = last

    def block(self, begin: int = 0, end: int | None = None) -> Block:
        """The pieces `begin` to `end`; by default all of them."""
        index = self.index[begin:end]
        lengths = index["num_events"].astype(np.int64)
        first = np.concatenate([[0], np.cumsum(lengths)])
        place = index["first_event"] - first[:-1]
        if len(index) and (place == place[0]).all():  # one after the other in the file, too
            events = self.events[place[0] : place[0] + first[-1]]
        else:
            events = self.events[np.repeat(place, lengths) + np.arange(first[-1])]
        block = Block(self.values(events), first)
        block.raw[block.is_end] = 0
        block.raw[block.first_event[:-1], 0] = 0
        return block

    def values(self, events: np.ndarray) -> np.ndarray:
        """`[..., n, num_fields]` int32 of `[..., n]` successive events; wrong at the first of a piece, and at END."""
        raw = np.zeros((*events.shape, len(self.names)), np.int32)
        for column, name in enumerate(self.names):
            if name == "step":
                raw[..., 1:, column] = np.diff(events["onset"])
            else:
                raw[..., column] = events[name]
        return raw

    def count_duplicates(self) -> int:
        """How many notes repeat the onset, pitch and program of the one before them."""
        columns = [self.names.index(name) for name in ("step", "pitch", "program") if name in self.names]
        count = 0
        for block in self.blocks():
            raw = block.raw[:, columns]
            same = (raw[1:, 0] == 0) & (raw[1:, 1:] == raw[:-1, 1:]).all(axis=1)
            same[block.first_event[1:-1] - 1] = False  # a piece's first note follows the END of another
            same[block.first_event[1:] - 2] = False  # an END
            count += int(same.sum())
        return count

    def restrike_share(self, *, enough: int = 1_000_000) -> float:
        """The share of the notes, of the first `enough` or a few more, that begin while their key sounds.

        A key is a pitch of a program.
        """
        columns = [self.names.index(name) for name in ("pitch", "program") if name in self.names]
        found = seen = 0
        for block in self.blocks():
            is_note = ~block.is_end
            piece = np.repeat(np.arange(len(block.first_event) - 1), np.diff(block.first_event))
            key = np.stack([piece, *block.raw[:, columns].T])[:, is_note]
            onset = np.cumsum(block.raw[:, 0], dtype=np.int64)[is_note]
            end = onset + block.raw[is_note, self.names.index("duration")]
            order = np.lexsort((onset, *key))
            key, onset, end = key[:, order], onset[order], end[order]
            again = (key[:, 1:] == key[:, :-1]).all(axis=0) & (onset[1:] > onset[:-1])
            found += int((again & (onset[1:] < end[:-1])).sum())
            seen += len(onset)
            if seen >= enough:
                break
        return found / max(seen, 1)

    def fetch(self, piece: np.ndarray, begin: np.ndarray, end: np.ndarray) -> None:
        """Has the disk read events of some pieces, all at the same time; without it a copy waits for each in turn.

        From then on a read of an event that is not in the page cache brings no others: shuffled windows need none.

        Args:
          piece, begin, end: `[n]`, the first event within the piece, and the one after the last.
        """
        if self.mapped is None:
            return
        mapped, at = self.mapped
        mapped.madvise(mmap.MADV_RANDOM, 0, at + self.events.nbytes)
        first, width = self.index["first_event"][piece], self.events.itemsize
        begins = (at + width * (first + np.maximum(begin, 0))) // mmap.PAGESIZE * mmap.PAGESIZE
        sizes = at + width * (first + end) - begins
        for place, size in zip(begins.tolist(), sizes.tolist(), strict=True):
            mapped.madvise(mmap.MADV_WILLNEED, place, size)

    def scratch(self, size: int, dtype: np.dtype | type) -> np.ndarray:
        """`[size]` zeros to write to: in a file without a name, which the process's end deletes, if there is a folder.

        What is one number per piece, or per window, need not be in memory either.
        """
        num_bytes = size * np.dtype(dtype).itemsize
        if self.folder is None or not num_bytes:
            return np.zeros(size, dtype)
        with io_errors.named(self.folder), tempfile.TemporaryFile(dir=self.folder) as file:
            os.posix_fallocate(file.fileno(), 0, num_bytes)  # a full disk is an error now, not a fault at a write
            return np.frombuffer(mmap.mmap(file.fileno(), num_bytes), dtype)


def lay_out(
    notes: Sequence[Notes],
    dtype: np.dtype,
    *,
    piece_ids: Sequence[str],
    group_ids: Sequence[str],
    sources: Sequence[str],
    labels: Sequence[Labels],
) -> tuple[np.ndarray, np.ndarray, bytes]:
    """The events, index and text of pieces one after the other, each with its END."""
    lengths = np.array([len(piece) for piece in notes], np.int64)
    paths = [source.encode("utf-8", "surrogateescape") for source in sources]
    written = list(map(labels_lib.serialize, labels))
    index = np.zeros(len(notes), PIECE)
    index["num_events"] = lengths + 1
    index["first_event"] = np.cumsum(lengths + 1) - (lengths + 1)
    index["milliseconds_per_tick"] = [1000 * piece.seconds_per_tick for piece in notes]
    index["piece_id"] = [name.encode("ascii") for name in piece_ids]
    index["group_id"] = [name.encode("ascii") for name in group_ids]
    index["source_size"], index["labels_size"] = list(map(len, paths)), list(map(len, written))
    sizes = index["source_size"].astype(np.int64) + index["labels_size"]
    index["source_begin"] = np.cumsum(sizes) - sizes
    events = np.zeros(int(lengths.sum()) + len(notes), dtype)
    if not len(notes):
        return events, index, b""
    is_note = np.ones(len(events), bool)
    ends = index["first_event"] + lengths
    is_note[ends] = False
    for name in ("duration", "pitch", "velocity", "program"):
        events[name][is_note] = np.concatenate([getattr(piece, name) for piece in notes])
    starts = np.concatenate([piece.start for piece in notes])
    firsts = [piece.start[0] if len(piece) else 0 for piece in notes]
    events["onset"][is_note] = starts - np.repeat(firsts, lengths)
    events["onset"][ends] = np.where(lengths > 0, events["onset"][ends - 1], 0)
    return events, index, b"".join(itertools.chain.from_iterable(zip(paths, written, strict=True)))


def stack_pieces(
    pieces: Sequence[Notes],
    table: fields.FieldTable,
    *,
    piece_ids: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    labels: Sequence[Labels] | None = None,
) -> Pieces:
    """Pieces in memory, each in the group of its `piece_id`, which by default is computed from the notes."""
    names = [notes.piece_id for notes in pieces] if piece_ids is None else piece_ids
    paths = [""] * len(pieces) if sources is None else sources
    own = [dict[str, str]()] * len(pieces) if labels is None else labels
    dtype = event_dtype(fields.MAX_TICK)
    events, index, text = lay_out(pieces, dtype, piece_ids=names, group_ids=names, sources=paths, labels=own)
    return Pieces(events, index, np.frombuffer(text, np.uint8), table.names, vocabularies=table.labels)


def is_drum(events: np.ndarray) -> np.ndarray:
    """Notes whose pitch stands for an instrument and must not be transposed."""
    return events["program"] == DRUM_PROGRAM
